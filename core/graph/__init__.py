"""Structures as neighbour graphs."""

from halocline.graph.contacts import Contacts, Surroundings
from halocline.graph.cut import cut_candidates
from halocline.graph.graph import Edges, Graph
from halocline.graph.index_sets import NO_SETS, IndexSets
from halocline.graph.joint import JointGraph, joint_graph
from halocline.graph.neighbours import LatestCut, NeighbourList, Search
from halocline.graph.rules import Nearest, NeighbourRule, Quadruplets, Radius, Several, Triplets
from halocline.graph.structure import Structure

__all__ = [
    "NO_SETS",
    "Contacts",
    "Edges",
    "Graph",
    "IndexSets",
    "JointGraph",
    "LatestCut",
    "Nearest",
    "NeighbourList",
    "NeighbourRule",
    "Quadruplets",
    "Radius",
    "Search",
    "Several",
    "Structure",
    "Surroundings",
    "Triplets",
    "cut_candidates",
    "joint_graph",
]
