"""Where the time of an evaluation goes, and what was really computed."""

from halocline.profile.dtypes import observed_dtypes

__all__ = ["observed_dtypes"]
