"""When jobs start by themselves: crons, snapshots as they are published, and what was made of each occasion."""
