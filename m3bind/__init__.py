"""The training package: towers, binding, distillation, evaluation."""
