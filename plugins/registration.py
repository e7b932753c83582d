"""What comes in the box: backbones, terms, pruners and partitioners."""

from __future__ import annotations

from halocline.plugin import Component, hookimpl

halocline_api = 2


@hookimpl
def halocline_backbones() -> list[Component]:
    """Describe the backbones."""
    return [
        Component(
            "schnet",
            "halocline.plugins.backbones.schnet:SchNet",
            "continuous-filter convolutions (Schütt et al. 2018)",
        ),
        Component(
            "m3gnet",
            "halocline.plugins.backbones.m3gnet:M3GNet",
            "atoms, edges and three-body terms (Chen and Ong 2022), as in MatGL and MatterSim",
        ),
        Component(
            "chgnet",
            "halocline.plugins.backbones.chgnet:CHGNet",
            "atoms, bonds and angles, with magnetic moments (Deng et al. 2023)",
        ),
        Component(
            "escaip",
            "halocline.plugins.backbones.escaip:EScAIP",
            "attention among the neighbours of each atom (Qu and Krishnapriyan 2024)",
        ),
        Component(
            "jmp",
            "halocline.plugins.backbones.jmp:JMP",
            "pairs and chains of edges: GemNet-OC (Gasteiger et al. 2022), as in JMP",
        ),
        Component(
            "mace",
            "halocline.plugins.backbones.mace:MACE",
            "equivariant many-body messages (Batatia et al. 2022)",
        ),
        Component(
            "nequip",
            "halocline.plugins.backbones.nequip:NequIP",
            "gated equivariant convolutions (Batzner et al. 2022), as in SevenNet and Nequix",
        ),
        Component(
            "orb",
            "halocline.plugins.backbones.orb:ORB",
            "messages both ways along directed edges, with derived or direct forces (Neumann et al. 2024)",
        ),
        Component(
            "tensornet",
            "halocline.plugins.backbones.tensornet:TensorNet",
            "tensors of rank two (Simeon and De Fabritiis 2023), as in MatGL",
        ),
        Component(
            "lennard-jones",
            "halocline.plugins.backbones.lennard_jones:LennardJones",
            "analytic pair potential with a smooth cutoff",
        ),
    ]


@hookimpl
def halocline_converters() -> list[Component]:
    """Describe the converters."""
    return [
        Component("matgl", "halocline.plugins.backbones.m3gnet.from_matgl:convert", "M3GNet potentials of MatGL"),
        Component(
            "matgl-tensornet",
            "halocline.plugins.backbones.tensornet.from_matgl:convert",
            "TensorNet potentials of MatGL",
        ),
        Component(
            "mattersim", "halocline.plugins.backbones.m3gnet.from_mattersim:convert", "M3GNet models of MatterSim"
        ),
        Component("chgnet", "halocline.plugins.backbones.chgnet.from_chgnet:convert", "models of CHGNet"),
        Component("jmp", "halocline.plugins.backbones.jmp.from_jmp:convert", "pre-trained networks of JMP"),
        Component("mace", "halocline.plugins.backbones.mace.from_mace:convert", "models of MACE"),
        Component("sevennet", "halocline.plugins.backbones.nequip.from_sevennet:convert", "models of SevenNet"),
        Component("nequix", "halocline.plugins.backbones.nequip.from_nequix:convert", "models of Nequix"),
        Component(
            "orb", "halocline.plugins.backbones.orb.from_orb:convert", "models of orb-models, versions 2 and 3"
        ),
        Component(
            "pnnl", "halocline.plugins.backbones.schnet.from_pnnl:convert", "SchNets of PNNL's water-cluster work"
        ),
    ]


@hookimpl
def halocline_kernels() -> list[Component]:
    """Describe the kernels."""
    return [
        Component("tables", "halocline.plugins.kernels.tables:Tables", "radial functions from cubic splines"),
        Component("schnet", "halocline.plugins.kernels.schnet:FusedSchNet", "stages of SchNet in few passes"),
        Component(
            "convolution",
            "halocline.plugins.kernels.convolution:Convolution",
            "radial functions convolved with in one pass over edges",
        ),
        Component("fused-mace", "halocline.plugins.kernels.mace:FusedMACE", "layers of MACE in compiled code"),
        Component(
            "fused-nequip", "halocline.plugins.kernels.nequip:FusedNequIP", "messages of NequIP in compiled code"
        ),
        Component(
            "m3gnet-edges",
            "halocline.plugins.kernels.m3gnet:M3GNetEdges",
            "edges and three-body sums of M3GNet's blocks in compiled code",
        ),
        Component(
            "escaip-attention",
            "halocline.plugins.kernels.escaip:FusedAttention",
            "attention of EScAIP by torch's fused one, on GPUs",
        ),
    ]


@hookimpl
def halocline_terms() -> list[Component]:
    """Describe what may be added to networks."""
    return [
        Component(
            "d3", "halocline.plugins.dispersion.d3:D3", "London dispersion by DFT-D3 (Grimme et al. 2010, 2011)"
        ),
    ]


@hookimpl
def halocline_pruners() -> list[Component]:
    """Describe the pruners."""
    return [
        Component(
            "depth",
            "halocline.plugins.pruners.depth:DepthPruner",
            "keep the first k message-passing layers",
            default=True,
            number="layers",
        ),
        Component(
            "channels",
            "halocline.plugins.pruners.channels:ChannelPruner",
            "keep the channels within layers on which forces depend most",
        ),
    ]


@hookimpl
def halocline_partitioners() -> list[Component]:
    """Describe the partitioners."""
    return [
        Component("none", "halocline.plugins.partitioners.none:WholePartitioner", "one part that owns every atom"),
        Component("grid", "halocline.plugins.partitioners.grid:GridPartitioner", "blocks of equal work"),
        Component(
            "rcb",
            "halocline.plugins.partitioners.rcb:BisectionPartitioner",
            "recursive coordinate bisection at equal work",
            default=True,
        ),
        Component(
            "metis",
            "halocline.plugins.partitioners.metis:MetisPartitioner",
            "equal work with few edges between parts, by METIS (Karypis and Kumar 1998)",
        ),
    ]
