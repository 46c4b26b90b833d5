"""The words by which the operator's node and the policy's agree on who drives: sub-tasks and outcomes of `PolicyStatus`."""

PERSON = "operator"  # the name of the policy where a person alone drives: they do not say that an order is done, but let go
TELEOPERATE, WAIT_FOR_PERSON = "teleoperate", "wait_for_person"  # sub-tasks: a person drives; one is asked to
DRIVES, HANDED_BACK = "running", "handed_back"  # what the operator's node says that a person does, or did; before: nothing
