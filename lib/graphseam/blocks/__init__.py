"""The block engine: a graph in blocks of packed arrays, worked on in supersteps that exchange packed messages.

    layout   which node lies in which block, and a block's rows as a sparse matrix over own rows and halo
    packets  what travels: (target block, name, array)
    engine   one superstep = one Spark stage: every block reads its inbox and writes to others' inboxes

An algorithm on it is a function `step(block, inbox) -> packets`; tests/test_blocks.py finds connected components with
one of ten lines, partition/coarsening.py is the large example.
"""
