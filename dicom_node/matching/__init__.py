"""What the node holds, asked by attributes: the matching of PS3.4 C.2.2.2, for C-FIND and QIDO-RS alike."""
