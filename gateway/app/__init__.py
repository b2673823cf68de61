"""The running gateway: wires the rooms together, starts, reloads, stops."""
