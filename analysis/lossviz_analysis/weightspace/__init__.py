"""Moving through weight space: functions of a model's parameters, in torch.

`vector` makes all trainable parameters one vector; `directions`, `trajectory`, `normalise` and
`orthonormal` say where to go, `grid` and `planner` where to stop and in which order.
`evaluator` moves the model and measures it; `folding`, `fusing`, `first_layer` and `twins` make
its forward pass fast. `evaluation` says what is summed, `batchnorm` what happens to running
statistics; `scan` brings planner and evaluator together.
"""
