"""MAML's meta-gradient without an autograd graph: every layer knows its forward pass, its gradient, and the gradient's
derivative along a direction.

For a chunk of tasks the inner loop is m gradients, P ← P − lr ∘ ∇L_support(P); the outer gradient is then carried back
by m Hessian-vector products, v ← v − ∇²L_support(P_j) (lr ∘ v), from v = ∇L_query(P_m), each computed forward over
reverse. Hence only ordinary convolutions run, where autograd's double backward takes ill-shaped ones.

``blocks.py`` says which bodies have it; ``layers.py`` what a layer's *pass* offers, the layouts of maps, and the head;
``image_block.py`` and ``map_block.py`` are the two kinds of block; ``chain.py`` is a stretch of layers as one pass;
``meta.py`` the inner loop, its adjoint and predictions, over tasks in chunks; ``flops.py`` counts their operations.

Equal to ``trainers.inner_loop`` and ``trainers.meta_step.meta_gradient_by_autograd`` up to rounding.
"""
