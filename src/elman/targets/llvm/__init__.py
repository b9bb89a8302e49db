"""The LLVM target: a plan as machine code for this machine, with the same bits however it is asked."""
