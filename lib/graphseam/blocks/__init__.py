"""The block engine: a graph in blocks of packed arrays, worked on in supersteps that exchange packed messages.

    layout   which node belongs to which block, and a block's rows as a sparse matrix over its own rows and its halo
    packets  what is sent: (target block, name, array)
    engine   one superstep = one Spark stage: every block reads its inbox and writes to other blocks' inboxes
    store    arrays of a block that stay in place between supersteps
    stages   one round = one Spark stage over the store: blocks return sums

An algorithm on the engine is a function `step(block, inbox) -> packets`; tests/test_blocks.py finds connected
components with one of ten lines, and partition/coarsening.py is the large example.
"""
