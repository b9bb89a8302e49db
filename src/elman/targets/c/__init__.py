"""From a plan to C: one function for one step of one example, its weights as constant arrays, a readable line a value."""
