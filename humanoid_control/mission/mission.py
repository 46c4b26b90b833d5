"""Which orders the robot may take, one at a time, and where its totes stand by now."""

from __future__ import annotations

from humanoid_control.errors import OrderError
from humanoid_control.mission.factory import Factory, Order
from humanoid_control.mission.factory_checks import check_order
from humanoid_control.mission.placement import Placement, initial_placements


class Mission:
    """The orders of one factory, followed one by one.

    Attributes:
        factory: as loaded.
        placements: where every tote stands, by name, as far as orders tell.
        order: the one being carried out; None between orders.
        blocked: why no order is taken until `unblock`; empty if they are.
    """

    def __init__(self, factory: Factory) -> None:
        """Starts with every tote where the factory file has it."""
        self.factory = factory
        self.placements = initial_placements(factory)
        self.order: Order | None = None
        self.blocked = ""
        self._place: Placement | None = None
        self._lost: dict[str, str] = {}

    def reason_against(self, order: Order) -> str:
        """Why an order cannot be taken now; empty if it can."""
        if self.order is not None:
            return f"busy with {self.order.tote} to {self.order.to}; wait for it, or cancel it"
        if self.blocked:
            return self.blocked
        for name in (order.tote, order.on):
            if name in self._lost:
                return f"nobody knows where {name} is since {self._lost[name]}; put it back and call /confirm_floor"
        try:
            check_order(self.factory, order, self.placements)
        except OrderError as error:
            return str(error)
        return ""

    def begin(self, order: Order) -> None:
        """Takes an order.

        Raises:
            OrderError: it cannot be taken now.
        """
        reason = self.reason_against(order)
        if reason:
            raise OrderError(reason)
        self._place = check_order(self.factory, order, self.placements)
        self.order = order

    def finish(self, *, done: bool, reason: str = "", has_moved: bool = False, in_hands: bool = False) -> None:
        """Ends the order.

        Args:
            done: whether the tote stands where it was ordered.
            reason: why not, in one word.
            has_moved: whether the tote may have left its place.
            in_hands: whether the robot still holds it.
        """
        order, self.order = self.order, None
        if order is None:
            return
        if done:
            self.placements[order.tote] = self._place
        elif in_hands:
            self.blocked = f"{order.tote} is still in the robot's hands ({reason}); take it, put it back and call /confirm_floor"
        elif has_moved:
            self._lost[order.tote] = f"its order failed ({reason})"

    def unblock(self) -> None:
        """A person says that hands are free, and that every tote is where it was before its order failed."""
        self.blocked = ""
        self._lost.clear()
