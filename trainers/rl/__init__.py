"""Reinforcement learning (``problem: rl``): a task is a Markov decision process, and a policy adapts to it."""
