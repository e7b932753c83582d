"""Owners, parts and their exact halos."""

from halocline.partition.division import Division
from halocline.partition.part import Part, cut_part, whole
from halocline.partition.partitioner import Partitioner

__all__ = ["Division", "Part", "Partitioner", "cut_part", "whole"]
