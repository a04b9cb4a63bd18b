"""The API of the administrators' page and of the operator: `guard` in front of the operations of `screens`."""
