"""The words of the inner monologue: what a policy can be doing. Their order is that of learned policies' tokens; add at the end."""

BEGIN = "begin"  # an order begins, or is taken over from another
SUBTASKS = (
    BEGIN, "start", "approach", "ready", "reach", "grip", "draw_near", "lift", "step_back", "carry", "align", "set_down", "let_go",
    "reach_lip", "grip_lip", "pull",
)  # fmt: skip
