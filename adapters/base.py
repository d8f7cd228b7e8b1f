"""What the coordinator asks of a chain, and the values that pass between them.

One protocol for every chain, real or simulated. Amounts are integers in base units; where a value
ends in a record it is JSON (see `proofs.canonical`), so amounts there are decimal strings.

The order of calls for one effect: `preflight` (forward only) → `prepare` (claims, builds and signs;
sends nothing) → the caller makes the bytes durable → `submit` (stored bytes only, any number of
times) → `observe` until the effect, or the proof that it can not come, is final.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from msgspec import Struct
from msgspec import field as struct_field

__all__ = [
    "PROOF",
    "Adapter",
    "Attempt",
    "BlockEvent",
    "ChainClock",
    "ClaimBook",
    "Consumed",
    "Direction",
    "Found",
    "Move",
    "Observation",
    "Prepared",
    "Proof",
    "Purpose",
    "Resolved",
    "Settled",
    "Signed",
    "StepSpec",
    "Submission",
    "Task",
]

Direction = Literal["forward", "confirm", "undo"]
#: What a chain's setting asks of evidence: before pivot and decision, as far as it is to be had, or
#: not at all.
PROOF: Final = ("required", "wanted", "none")
#: ``effect`` makes the declared effect; ``burn`` consumes the claim by a self-spend so that its
#: attempts can never land; ``tombstone`` cancels the operation id so that its forward can never
#: take effect.
Purpose = Literal["effect", "burn", "tombstone"]
#: One claimed thing: (account, nonce) on account chains, ("txid:vout", 0) for coins.
Claim = tuple[str, int]


@dataclass(frozen=True, slots=True)
class StepSpec:
    """A step as the plan file has it, after ``@name`` substitution; what `resolve` takes.

    ``params`` are the plan's ``with`` table: values are str, int, bool, list or dict as TOML/JSON
    gave them. Amounts appear as ``{"asset": "ALZ", "value": "100"}`` (decimal string, whole coins).
    ``@saga.id32`` is the only name left unsubstituted: adapters write 32 bytes for it per saga.
    """

    id: str
    chain: str
    action: str
    params: Mapping[str, Any]
    effect: Mapping[str, Any] | None = None
    undo: Mapping[str, Any] | None = None
    after_pivot: bool = False
    deadline_s: int = 0


@dataclass(frozen=True, slots=True)
class Move:
    """Value that a step's forward effect moves: ``amount`` base units of ``asset`` between holders.

    Holders are words for people and for the conservation check: an address, ``escrow``,
    ``outside``, ``pending``, ``issued`` (created from nothing), ``destroyed``.
    """

    asset: str
    amount: int
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """A step after resolution: everything the rest of its life needs, and what the checker weighs.

    Attributes:
        action: JSON for the plan's lock file and the saga's first record: addresses checksummed,
            amounts as decimal strings of base units, signer addresses, gas limits and fee caps.
        effect_class: ``undoable`` (we alone can take it back), ``hold`` (waits for confirm or
            undo and expires), ``pivot`` (cannot be taken back), ``retriable`` (runs after the
            pivot, cannot fail for good).
        confirm: a commit needs a confirm effect of this step.
        undo: a rollback needs an undo effect of this step once its forward is done.
        kill: how an unknown attempt can be ended, in order of preference.
        reveals: the confirm publishes a preimage (see ``deliver``).
        deliver: channel of the preimage: ``secret``, ``file`` or ``calldata``; None without one.
        moves: value moved by the forward effect.
        fees: worst-case cost in base units of ``fee_asset`` per direction:
            keys ``forward``, ``confirm``, ``undo``, ``burn``; ``payers`` has the same keys.
        reserve: ``(account, asset, amount)`` set aside in our accounts before the first effect.
        expiry: ``{"blocks": n}`` or ``{"seconds": n}`` after the start at which a hold can be
            refunded (None: no expiry).
        locks: resources this step needs for itself while the saga is open (an allowance, say).
        unique_by: what keeps two generations of a confirm or undo from both counting: the
            contract's ``operation`` id, the ``parent`` output they spend, or only the ``claim``.
        undo_ms: longest time the undo can take once it may be sent (own finality included).
        confirm_ms: the same for the confirm.
        text, confirm_text, undo_text: one line each for people.
    """

    action: Mapping[str, Any]
    effect_class: Literal["undoable", "hold", "pivot", "retriable"]
    text: str
    fee_asset: str
    confirm: bool = False
    undo: bool = False
    kill: tuple[Literal["burn", "tombstone"], ...] = ()
    reveals: bool = False
    deliver: str | None = None
    moves: tuple[Move, ...] = ()
    fees: Mapping[str, int] = field(default_factory=dict)
    payers: Mapping[str, str] = field(default_factory=dict)
    reserve: tuple[tuple[str, str, int], ...] = ()
    expiry: Mapping[str, int] | None = None
    locks: tuple[str, ...] = ()
    unique_by: Literal["operation", "parent", "claim"] = "claim"
    undo_ms: int = 0
    confirm_ms: int = 0
    confirm_text: str = ""
    undo_text: str = ""
    warnings: tuple[str, ...] = ()


class Task(Struct, frozen=True):
    """One step in one direction, as the saga asks it of a chain.

    Attributes:
        action: `Resolved.action` as fixed in the saga's first record.
        op_id: 64 hex digits, the same for every direction and generation of the step.
        saga_id32: 64 hex digits that stand for the saga on chain (``@saga.id32``).
        deadline_s: the decision deadline, Unix seconds; forward effects must not happen after it.
        expiry: absolute expiry of a hold: ``{"height": n}`` or ``{"time": unix seconds}``.
        forward: facts of the forward effect (`Found.facts`), for confirm and undo.
        cites: for generation > 1, facts of what proved the former generation not done
            (`Consumed.facts`).
        hashlock: SHA-256 of the hold's preimage, 64 hex digits; None where there is no hold.
        preimage: 64 hex digits; only ever set in confirm, after the reveal intent is durable.
        cap_pct: fee caps of the plan count by this percentage; an operator's verdict raised it.
        jammed: others wait in line behind this effort's claim, so that its account, not its saga,
            pays for a replacement beyond those caps, as far as the chain's configuration allows.
        coins: outpoints that the saga's first record reserved for this effect; it spends exactly
            these (see `Adapter.choose_coins`).
        terms: what the first record fixed of the chain (`Adapter.terms`); None for whoever only
            looks. Nothing is signed for another chain than that.
    """

    saga: str
    step: str
    direction: Direction
    generation: int
    action: Mapping[str, Any]
    op_id: str
    saga_id32: str
    deadline_s: int
    expiry: Mapping[str, int] | None = None
    forward: Mapping[str, Any] | None = None
    cites: Mapping[str, Any] | None = None
    hashlock: str | None = None
    preimage: str | None = None
    cap_pct: int = 100
    coins: tuple[str, ...] = ()
    jammed: bool = False
    terms: Mapping[str, Any] | None = None


class Prepared(Struct, frozen=True):
    """Signed and not sent.

    Attributes:
        tx_id: computed here from the bytes, never taken from a node.
        raw: the bytes that `submit` sends.
        claim: everything this attempt consumes; all attempts of one effort share it.
        since: chain height at preparation. Only a reorganisation puts the effect in a lower block,
            so whoever looks for it begins as far below as blocks can still be replaced.
        fee: JSON facts for the next replacement and for people (caps, worst cost).
        facts: JSON facts that `observe` needs later (output index, script, spender …). Two of them
            say what a forward effect brings into an account of ours, so that it is kept for the
            undo: ``outpoint`` of a coin, or ``brings``: [account, asset, amount].
    """

    tx_id: str
    raw: bytes
    claim: tuple[Claim, ...]
    since: int
    fee: Mapping[str, Any] = struct_field(default_factory=dict)
    facts: Mapping[str, Any] = struct_field(default_factory=dict)


class Attempt(Struct, frozen=True):
    """An intent read back from the journal; ``raw`` is absent where only looking is wanted."""

    tx_id: str
    purpose: Purpose
    claim: tuple[Claim, ...]
    since: int
    fee: Mapping[str, Any]
    facts: Mapping[str, Any]
    generation: int = 1


class Submission(Struct, frozen=True):
    """What a node said to the bytes: never more than accepted or ambiguous.

    ``hint`` is the node's text. ``fund`` is set when the payer's account was seen too empty for
    these bytes: ``(address, asset, missing base units)``.
    """

    accepted: bool
    hint: str = ""
    fund: tuple[str, str, int] | None = None


class Found(Struct, frozen=True):
    """The declared effect is in a block, whoever caused it; ``facts`` are JSON.

    ``facts`` always hold ``fee`` (base units as decimal string: all that we paid by then for
    transactions of this generation; "0" when a stranger paid) and ``time`` (block time, Unix
    seconds); holds and transfers on Bitcoin add ``outpoint``.
    """

    tx_id: str
    block_hash: str
    height: int
    final: bool
    facts: Mapping[str, Any]


class Consumed(Struct, frozen=True):
    """The effect is absent and can not come from this claim: who consumed it, and why that is so.

    ``reason``: ``reverted``, ``no_effect``, ``burnt``, ``foreign``, ``tombstone``,
    ``parent_conflict``, ``redeemed``, ``refunded``. ``facts`` as in `Found` (fee of ours included),
    plus ``detail`` for people. ``claim_open`` is True when the claim itself is still unused (a
    tombstone): it must be burnt later.
    """

    tx_id: str
    block_hash: str
    height: int
    final: bool
    reason: str
    facts: Mapping[str, Any]
    claim_open: bool = False


class Observation(Struct, frozen=True):
    """What the chain shows of one effort, as of ``height``; at most one of both is set."""

    height: int
    found: Found | None = None
    consumed: Consumed | None = None


class Settled(Struct, frozen=True):
    """A final outcome as the journal names it: what there is to prove.

    ``done`` is False where the transaction shows that the effect did not and can not happen.
    """

    tx_id: str
    block_hash: str
    height: int
    done: bool
    facts: Mapping[str, Any]


class Proof(Struct, frozen=True):
    """Evidence in a form of proofs/README.md: canonical JSON, verified before it was returned."""

    kind: str
    body: bytes


class ChainClock(Struct, frozen=True):
    """The chain's own idea of now, from the newest block that a majority of its nodes shares.

    ``agreed`` is False while too few nodes answered for that since the adapter was opened: then
    nothing may be decided by it.
    """

    height: int
    time_s: int
    agreed: bool = True


class Signed(Struct, frozen=True):
    """A transaction in a block that one of our keys signed, whoever holds that key.

    ``claim`` is what of ours it consumed, ``accounts`` whose keys signed it, ``texts`` what is
    known of it, for people.
    """

    tx_id: str
    block_hash: str
    height: int
    time_s: int
    claim: tuple[Claim, ...]
    accounts: tuple[str, ...]
    texts: tuple[str, ...]


class BlockEvent(Struct, frozen=True):
    """The follower moved: new blocks were read, or some were taken back.

    ``touched``: keys (see `Adapter.keys`) that the new or removed blocks concern.
    ``signed``: what our keys signed in the blocks that were read, older ones (`Adapter.cover`) too.
    """

    clock: ChainClock
    touched: frozenset[str]
    reorganised: bool = False
    signed: tuple[Signed, ...] = ()


class ClaimBook(Protocol):
    """Which nonces and coins are spoken for; one scope of it is handed to each `prepare`.

    Whatever a scope takes is given back by its owner unless the intent becomes durable.
    """

    def take_next(self, resource: str, floor: int) -> int:
        """Take and return the smallest free value ≥ ``floor`` of ``resource`` (a nonce)."""

    def take(self, resource: str, value: int = 0) -> bool:
        """Take one value (a coin); False when it is spoken for."""

    def taken(self, resource: str, value: int = 0) -> bool:
        """Tell whether the value is claimed, held or reserved."""


class Adapter(Protocol):
    """One chain. Every coroutine may raise `Transient`; the rest is named where it applies.

    Plain methods answer from what is known here and raise nothing.
    """

    @property
    def chain(self) -> str:
        """The chain's name in chains.toml."""

    async def open(self) -> None:
        """Connect and pin: chain id, genesis. Raises `WrongChain`. Starts no background work."""

    async def close(self) -> None:
        """End connections and background work; safe to call twice."""

    def terms(self) -> Mapping[str, Any]:
        """JSON facts that a plan fixes: kind, network or chain_id, genesis, finality_blocks,
        block_time_ms {fast, slow}, fee caps, nodes, native asset, proof ("required" before the
        decision, "wanted" or "none").
        """

    async def resolve(self, spec: StepSpec) -> Resolved:
        """Turn a plan's step into what runs. Reads code hashes; changes nothing.

        Raises:
            Rejected: with a reason an author of plans understands.
        """

    async def simulate(self, resolved: Resolved) -> str | None:
        """Try the forward effect on today's state: None when it would work today.

        Raises:
            Rejected: it would fail, with the decoded reason.
        Returns a text when it can not be simulated, saying why.
        """

    async def choose_coins(self, action: Mapping[str, Any], book: ClaimBook) -> tuple[str, ...]:
        """Take final coins of ours that pay the forward effect of ``action`` at its highest fee,
        and return them as outpoints; empty where effects spend no coins. Sends nothing.

        Raises:
            Rejected: no free coins suffice.
        """

    def clock(self) -> ChainClock:
        """Height and time of the newest block read by the follower (or at `open`)."""

    def follow(self, since: int) -> AsyncIterator[BlockEvent]:
        """Read every block from height ``since`` once, for ever; the one poller of this chain."""

    async def cover(self, since: int) -> None:
        """Make `observe` see blocks from ``since`` on, reading older ones where it did not yet, and
        below them those that a reorganisation can have put in the place of blocks not yet final.
        """

    def keep_from(self, height: int) -> None:
        """No saga of this process began below ``height``: what older blocks held may be forgotten.
        A hint that is given again and again; `cover` and `observe` read anew what they need.
        """

    def nudge(self) -> None:
        """Something was just sent: look for a new block sooner than the usual interval."""

    def keys(self, task: Task, attempts: Sequence[Attempt]) -> frozenset[str]:
        """The keys by which `BlockEvent.touched` names what concerns this effort; the follower
        reports only keys that were asked for here (by any task) or concern our own accounts.
        """

    async def preflight(self, task: Task) -> None:
        """Repeat the simulation just before an intent. Raises `Rejected`; claims nothing."""

    async def prepare(
        self, task: Task, purpose: Purpose, book: ClaimBook, former: Sequence[Attempt]
    ) -> Prepared:
        """Claim, build and sign; send nothing.

        ``former`` are all attempts of this effort so far. For ``effect`` and ``burn`` with a
        former attempt of the same generation, the same claim is used and the fee beats it by the
        chain's replacement rule. A tombstone uses a claim of its own.

        Raises:
            Rejected: caps, dust, missing funds (``code="unfunded"``) or refused by policy.
        """

    def sequences(self) -> Collection[str]:
        """Our resources whose values the chain takes in order only (accounts and their nonces);
        empty where every claim stands for itself.
        """

    async def unused(self, resource: str) -> int:
        """Return the smallest value of a sequence that no block has consumed yet."""

    async def fill(self, resource: str, value: int, former: Sequence[Attempt] = ()) -> Prepared:
        """Build and sign a self-spend that consumes just this value of a sequence, so that later
        values can land. Sends nothing.

        ``former`` are the fills of this value so far: the fee beats them all by the chain's
        replacement rule, up to what a burn may cost.

        Raises:
            Rejected: the account can not pay for it, or the cap leaves no room.
        """

    async def submit(self, tx_id: str, raw: bytes) -> Submission:
        """Send stored bytes. Repeating it is always harmless. Never raises for a node's refusal."""

    async def observe(self, task: Task, attempts: Sequence[Attempt]) -> Observation:
        """Look for the declared effect of this step in this direction, whoever caused it, then at
        what became of the attempts. Reads the follower's view, no history beyond `cover`.
        """

    async def prove(self, task: Task, settled: Settled) -> tuple[Proof, ...]:
        """Build evidence of a final outcome from what nodes answer, and verify it as a stranger
        would: in the block that the journal names, and bound to this step.

        Raises:
            ProofUnavailable: there is none and will be none, with the reason.
        """

    async def balance(self, holder: str, asset: str) -> int:
        """Base units of ``asset`` that ``holder`` (address) owns at the newest block."""
