"""Distillation methods: one module each, the pure formulas first."""
