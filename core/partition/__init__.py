"""Owners, parts and their exact halos."""

from halocline.partition.division import Division, Partitioner
from halocline.partition.domain import Domain, build_domains, domain_graph, domain_of
from halocline.partition.part import Cutter, Part, cut_part, whole

__all__ = [
    "Cutter",
    "Division",
    "Domain",
    "Part",
    "Partitioner",
    "build_domains",
    "cut_part",
    "domain_graph",
    "domain_of",
    "whole",
]
