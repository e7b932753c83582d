"""Where the time of an evaluation goes, and what was really computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halocline.lazy import lazily

if TYPE_CHECKING:
    from halocline.profile.dtypes import observed_dtypes
    from halocline.profile.evaluation import Profile, profile_evaluation
    from halocline.profile.growth import Growth, growths
    from halocline.profile.plot import plot_profile
    from halocline.profile.roof import Roof
    from halocline.profile.rows import Row

__all__ = [
    "Growth",
    "Profile",
    "Roof",
    "Row",
    "growths",
    "observed_dtypes",
    "plot_profile",
    "profile_evaluation",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Growth": "halocline.profile.growth",
        "Profile": "halocline.profile.evaluation",
        "Roof": "halocline.profile.roof",
        "Row": "halocline.profile.rows",
        "growths": "halocline.profile.growth",
        "observed_dtypes": "halocline.profile.dtypes",
        "plot_profile": "halocline.profile.plot",
        "profile_evaluation": "halocline.profile.evaluation",
    },
)
