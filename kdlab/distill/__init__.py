"""Distillation methods; in each module the pure formulas come first."""
