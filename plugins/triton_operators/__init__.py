"""Operators of `halocline.plugins.fused` on GPUs, in Triton: the same sums, with one writer each.

Modules here import Triton; they are imported when an operator is called for the first time (see
`halocline.plugins.fused.operators.define`).
"""
