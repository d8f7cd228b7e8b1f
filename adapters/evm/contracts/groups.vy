# pragma version 0.4.3
"""
@title Sender groups
@license Apache-2.0
@notice Operation ids are kept apart by sender group, so that nobody else can take or cancel
        an id, while any member can finish what another member began. A group is named by
        the address of its leader; an address that never joined one is its own group.

        Joining takes both sides: the leader admits, the member joins. An address that has
        used operation ids of its own, or leads members, cannot join: its own operations
        would fall out of its reach.
"""

event Admitted:
    group: indexed(address)
    member: indexed(address)

event Joined:
    group: indexed(address)
    member: indexed(address)

event Expelled:
    group: indexed(address)
    member: indexed(address)

# Leader of each address that joined a group.
leaders: HashMap[address, address]
# leader -> member -> admitted and not joined yet
admitted: HashMap[address, HashMap[address, bool]]
# Addresses ever expelled. They never become their own group again: a call of theirs that
# waits unmined would otherwise take effect under another group, where the tombstone of its
# operation id in the group does not stop it.
expelled: HashMap[address, bool]
member_count: HashMap[address, uint256]
# Groups that have ever opened or cancelled an operation.
used: HashMap[address, bool]


@external
@view
def group_of(account: address) -> address:
    """
    @notice The group under which operations of `account` are kept.
    """
    leader: address = self.leaders[account]
    return leader if leader != empty(address) else account


@external
def admit(member: address):
    """
    @notice Allow `member` to join the caller's group. Harmless when admitted already.
    """
    assert self._is_own_group(msg.sender), "not a leader"
    assert member != msg.sender and member != empty(address), "bad member"
    assert self.leaders[member] != msg.sender, "already a member"
    if not self.admitted[msg.sender][member]:
        self.admitted[msg.sender][member] = True
        log Admitted(group=msg.sender, member=member)


@external
def join(leader: address):
    """
    @notice Join the group of `leader`, who must have admitted the caller before.
    """
    assert self.admitted[leader][msg.sender], "not admitted"
    assert self._is_own_group(leader), "not a leader"
    assert self.leaders[msg.sender] == empty(address), "already in a group"
    assert not self.used[msg.sender], "already used as a group"
    assert self.member_count[msg.sender] == 0, "leads a group"
    self.admitted[leader][msg.sender] = False
    self.leaders[msg.sender] = leader
    self.member_count[leader] += 1
    log Joined(group=leader, member=msg.sender)


@external
def expel(member: address):
    """
    @notice Take `member` out of the caller's group, or withdraw its admission. From this
            call on it can open, confirm, undo and cancel nothing until it joins a group.
    """
    joined: bool = self.leaders[member] == msg.sender
    assert joined or self.admitted[msg.sender][member], "not a member"
    self.admitted[msg.sender][member] = False
    if joined:
        self.leaders[member] = empty(address)
        self.expelled[member] = True
        self.member_count[msg.sender] -= 1
    log Expelled(group=msg.sender, member=member)


@internal
@view
def of_caller() -> address:
    leader: address = self.leaders[msg.sender]
    if leader != empty(address):
        return leader
    assert not self.expelled[msg.sender], "expelled"
    return msg.sender


@internal
def mark_used(group: address):
    if not self.used[group]:
        self.used[group] = True


@internal
@view
def _is_own_group(account: address) -> bool:
    return self.leaders[account] == empty(address) and not self.expelled[account]
