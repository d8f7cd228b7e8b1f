// The course of a saga, told again from its records: what each must hold, and what may follow what.
import { need } from "./errors.mjs";
import { having, HEX20, HEX32, isFlag, isObject, isText, isWhole, listOf, mapOf, matches, oneOf, orNull } from "./fields.mjs";

const FORM = "record-form";
const MOVE = "saga-transition";
const [LIVE, ENDS] = [["running", "confirming", "undoing"], ["committed", "rolled_back", "closed_by_operator"]];

// ------------------------------------------------------------ the members of records

const name = matches(/^[a-z][a-z0-9_-]{0,47}$/);
const hex32 = matches(HEX32);
const id32 = matches(/^(?:0x)?[0-9a-f]{64}$/);
const amount = matches(/^(?:0|[1-9][0-9]{0,99})$/);
const asset = matches(/^[A-Za-z][A-Za-z0-9._-]{0,15}$/);
const reason = matches(/^[a-z][a-z0-9_./-]{0,47}$/);
const count = (value) => isWhole(value) && value >= 1;
const facts = (value) => isObject(value) && (!("fee" in value) || amount(value.fee));
const claim = (value) => Array.isArray(value) && value.length === 2 && matches(/^[!-~]{1,200}$/)(value[0]) && isWhole(value[1]);

const direction = oneOf("forward", "confirm", "undo");
const about = { step: name, dir: direction };
const seen = { ...about, tx: id32, block: id32, height: isWhole };
const outcome = { ...seen, gen: count, outcome: oneOf("done", "not_done") };
const person = { by: isText, reason: isText };

const MEMBERS = {
  started: {
    saga: matches(/^[0-9A-Z]{26}$/), key: isText, digest: hex32, plan: isObject, deadline_s: isWhole,
    expiries: mapOf(name, mapOf(oneOf("height", "time"), isWhole)),
    clocks: mapOf(name, having({ height: isWhole, time_s: isWhole })),
    reservations: listOf(listOf(isText, 5, 5)), locks: listOf(isText), instance: isText,
  },
  refused: { step: name, code: isText, reason: isText },
  intent: {
    ...about, gen: count, n: count, purpose: oneOf("effect", "burn", "tombstone"), tx: id32, bytes: hex32, chain: name,
    claim: listOf(claim, 1), since: isWhole, fee: isObject, facts, until_s: isWhole,
  },
  reveal: { step: name, gen: count, hashlock: hex32, deliver: isText, until_s: isWhole },
  included: { ...seen, facts, until_s: isWhole },
  orphaned: seen,
  done: { ...seen, gen: count, facts },
  not_done: { ...seen, gen: count, reason: isText, facts, claim_open: isFlag },
  proved: { ...outcome, evidence: listOf(having({ kind: reason, sha256: hex32 }), 1, 16) },
  unproved: { ...outcome, reason, detail: isText },
  withdrawn: { ...about, was: oneOf("done", "not_done"), why: isText },
  decided: { decision: oneOf("commit", "rollback"), cause: having({ kind: isText, text: isText }) },
  asked: { what: oneOf("rollback"), ...person },
  verdict: {
    ...about, verdict: oneOf("adopt", "burn", "cap", "reclaim", "write_off"), by: listOf(isText, 1, 100), reason: isText,
    args: isObject,
  },
  stuck: { reason: isText, question: isText, verdicts: listOf(isText), until_s: isWhole },
  paused: person,
  unpaused: person,
  taken_over: { instance: isText, from: orNull(isText) },
  reopened: { why: isText },
  closed: { state: oneOf(...ENDS), records: count, fees: mapOf(asset, amount) },
};
// Members that need not be there.
const SOMETIMES = { started: { coins: listOf(listOf(isText, 3, 3)) }, intent: { hashlock: hex32 }, withdrawn: { kept: listOf(isText) } };

function readRecord(record, at) {
  const { kind, data, seq, at: atMs } = record;
  need(isText(kind) && Object.hasOwn(MEMBERS, kind), FORM, `record ${at} is of no kind that a saga has`);
  const where = `record ${at} (${kind})`;
  need(isWhole(seq) && isWhole(atMs) && isObject(data), FORM, `${where} lacks number, time or data`);
  need(!("step" in data) || name(data.step), FORM, `${where} has no proper step`);
  need(having(MEMBERS[kind])(data), FORM, `${where} lacks a member of its kind`);
  for (const [one, form] of Object.entries(SOMETIMES[kind] ?? {})) {
    need(!(one in data) || form(data[one]), FORM, `${where} has no proper ${one}`);
  }
  return { kind, data, seq, atMs };
}

// ------------------------------------------------------------ the plan

const STEP = having({
  id: name, chain: name, action: having({ kind: name }), class: oneOf("undoable", "hold", "pivot", "retriable"),
  confirm: isFlag, undo: isFlag, kill: listOf(oneOf("burn", "tombstone"), 0, 2), reveals: isFlag,
  deliver: orNull(oneOf("secret", "file", "calldata")), fee_asset: asset, text: isText,
  unique_by: oneOf("operation", "parent", "claim"),
});
const TERMS = having({ kind: name, finality_blocks: count });

function checkShape(steps, order) {
  const shape = (condition, detail) => need(condition, "plan-steps", detail);
  shape(new Set(steps.map((step) => step.id)).size === steps.length, "two steps of one name");
  const pivot = steps.findIndex((step) => step.class === "pivot");
  steps.forEach((step, at) => {
    const after = pivot >= 0 && at > pivot;
    shape((step.class === "retriable") === after, `step ${step.id} stands on the wrong side of the pivot`);
    shape(step.undo === ["undoable", "hold"].includes(step.class), `the undo of step ${step.id}`);
    shape(step.class !== "retriable" || step.confirm, `step ${step.id} would never run`);
  });
  const confirmed = steps.filter((step) => step.confirm).map((step) => step.id).sort();
  shape(listOf(name)(order) && [...order].sort().join() === confirmed.join(), "confirm_order");
}

function readPlan(plan) {
  const { steps, chains } = plan;
  need(name(plan.name) && mapOf(name, TERMS)(chains), FORM, "the plan has no proper name or chains");
  need(listOf(STEP, 1, 1000)(steps), FORM, "the plan has no proper steps");
  need(mapOf(name, matches(HEX20))(plan.participants ?? Object.create(null)), FORM, "the plan's participants");
  need(plan.participants !== null, FORM, "the plan's participants");
  for (const step of steps) {
    need(Object.hasOwn(chains, step.chain), FORM, "a step on a chain that the plan does not name");
    need(!("await" in step) || oneOf("included", "final")(step.await), FORM, "what a step awaits");
    need(oneOf("required", "wanted", "none")(chains[step.chain].proof ?? "none"), FORM, "a chain's proof");
    need(chains[step.chain].proof !== null, FORM, "a chain's proof");
  }
  checkShape(steps, plan.confirm_order);
}

// ------------------------------------------------------------ efforts

const PURPOSES = {
  running: { forward: ["effect", "burn", "tombstone"] },
  undoing: { forward: ["burn", "tombstone"], undo: ["effect"] },
  confirming: { forward: ["effect"], confirm: ["effect"], undo: ["effect"] },
  rolled_back: { forward: ["burn"] },
  closed_by_operator: { forward: ["burn"] },
};
const PHASES = {
  refused: { idle: "not_done" },
  reveal: { idle: "unknown" },
  effect: { idle: "unknown", unknown: "unknown", not_done: "unknown" },
  kill: { unknown: "unknown", not_done: "not_done" },
  included: { unknown: "included", included: "included" },
  orphaned: { included: "unknown" },
  done: { unknown: "done", included: "done" },
  not_done: { unknown: "not_done", not_done: "not_done" },
  withdrawn: { done: "unknown", not_done: "unknown" },
  proved: { done: "done", not_done: "not_done" },
  unproved: { done: "done", not_done: "not_done" },
  write_off: { idle: "written_off", unknown: "written_off", included: "written_off", not_done: "written_off" },
};

const NOTHING = { tx: null, block: null, height: 0, facts: {}, executedMs: 0, outcomeSeq: 0, proof: "", evidence: null };
const fresh = () => ({ ...NOTHING, phase: "idle", gen: 1, attempts: [], hashlock: null, revealed: false, wasDone: false });

// ------------------------------------------------------------ the course

export class Course {
  constructor() {
    Object.assign(this, { state: "", seq: 0, steps: [], first: null, decision: "", cause: null });
    Object.assign(this, { efforts: new Map(), verdicts: [], fees: new Map() });
  }

  get plan() {
    return this.first.plan;
  }

  get ended() {
    return ENDS.includes(this.state);
  }

  get pivot() {
    return this.steps.find((step) => step.class === "pivot");
  }

  get givenUp() {
    return this.verdicts.some((one) => ["write_off", "reclaim"].includes(one.verdict));
  }

  step(id) {
    return this.steps.find((step) => step.id === id);
  }

  effort(step, way) {
    return this.efforts.get(`${step}/${way}`) ?? fresh();
  }

  /** Efforts whose final outcome a transaction shows, in the order of those records. */
  settled() {
    return [...this.efforts]
      .filter(([, effort]) => ["done", "not_done"].includes(effort.phase) && effort.tx !== null)
      .map(([key, effort]) => ({ step: this.step(key.split("/")[0]), dir: key.split("/")[1], effort }))
      .sort((left, right) => left.effort.outcomeSeq - right.effort.outcomeSeq);
  }

  apply(line) {
    const { kind, data } = line;
    this.line = line;
    this.must((kind === "started") === (this.state === ""), "a saga begins with started, once");
    this.must(line.seq === this.seq + 1, "it does not follow the record before");
    this.must(kind === "stuck" || !("step" in data) || this.step(data.step) !== undefined, "the plan has no such step");
    this[kind](data, line);
    this.seq = line.seq;
  }

  must(condition, detail) {
    need(condition, MOVE, `record ${this.line.seq} (${this.line.kind}): ${detail}`);
  }

  during(...states) {
    this.must(states.includes(this.state), `the saga is ${this.state}`);
  }

  move(kind, step, way) {
    const key = `${step}/${way}`;
    if (!this.efforts.has(key)) this.efforts.set(key, fresh());
    const effort = this.efforts.get(key);
    const after = PHASES[kind][effort.phase];
    this.must(after !== undefined, `the ${way} of ${step} is ${effort.phase}`);
    effort.phase = after;
    return effort;
  }

  pay(step, paid, sign) {
    const paidIn = this.step(step).fee_asset;
    this.fees.set(paidIn, (this.fees.get(paidIn) ?? 0n) + sign * BigInt(paid.fee ?? "0"));
  }

  started(data) {
    this.first = data;
    readPlan(data.plan);
    this.steps = data.plan.steps;
    this.state = "running";
  }

  decided(data) {
    this.during("running");
    [this.decision, this.cause] = [data.decision, data.cause];
    this.state = data.decision === "commit" ? "confirming" : "undoing";
  }

  closed(data, line) {
    const natural = { confirming: "committed", undoing: "rolled_back" }[this.state];
    this.must(natural !== undefined && [natural, "closed_by_operator"].includes(data.state), `it is ${this.state}`);
    this.must(data.records === line.seq, "it counts another number of records");
    this.state = data.state;
  }

  reopened() {
    this.during("committed", "rolled_back");
    this.state = this.state === "committed" ? "confirming" : "undoing";
  }

  refused(data) {
    this.during("running");
    this.move("refused", data.step, "forward");
  }

  intent(data, line) {
    const may = PURPOSES[this.state]?.[data.dir] ?? [];
    this.must(may.includes(data.purpose), `no ${data.purpose} of a ${data.dir} now`);
    const before = this.effort(data.step, data.dir);
    const effect = data.purpose === "effect";
    const gen = before.gen + (effect && before.phase === "not_done" ? 1 : 0);
    this.must(data.gen === gen, `generation ${gen} is next`);
    const effort = this.move(effect ? "effect" : "kill", data.step, data.dir);
    effort.gen = gen;
    effort.hashlock = data.hashlock ?? effort.hashlock;
    effort.attempts.push({ ...data, seq: line.seq });
  }

  reveal(data) {
    this.during("confirming");
    const effort = this.move("reveal", data.step, "confirm");
    Object.assign(effort, { revealed: true, hashlock: data.hashlock });
  }

  found(effort, data, line) {
    const { tx, block, height } = data;
    Object.assign(effort, { tx, block, height, facts: data.facts, proof: "", evidence: null });
    effort.executedMs ||= line.atMs;
  }

  included(data, line) {
    this.found(this.move("included", data.step, data.dir), data, line);
  }

  orphaned(data) {
    Object.assign(this.move("orphaned", data.step, data.dir), NOTHING);
  }

  settle(kind, data, line) {
    const effort = this.move(kind, data.step, data.dir);
    this.must(data.gen === effort.gen, `it is generation ${effort.gen}`);
    this.pay(data.step, data.facts, 1n);
    effort.outcomeSeq = line.seq;
    return effort;
  }

  done(data, line) {
    const effort = this.settle("done", data, line);
    this.found(effort, data, line);
    effort.wasDone = true;
  }

  not_done(data, line) {
    const { tx, block, height } = data;
    const effort = this.settle("not_done", data, line);
    Object.assign(effort, { tx, block, height, facts: data.facts, proof: "", evidence: null });
  }

  withdrawn(data) {
    const before = this.effort(data.step, data.dir);
    this.must(before.phase === data.was, `the effort is ${before.phase}`);
    this.pay(data.step, before.facts, -1n);
    Object.assign(this.move("withdrawn", data.step, data.dir), NOTHING);
  }

  presentOutcome(data) {
    const effort = this.move("proved", data.step, data.dir);
    const same = ["tx", "block", "height", "gen"].every((one) => data[one] === effort[one]) && data.outcome === effort.phase;
    this.must(same, "it is about another outcome than the present one");
    this.must(effort.proof !== "proved", "the outcome is proved already");
    return effort;
  }

  proved(data) {
    Object.assign(this.presentOutcome(data), { proof: "proved", evidence: data });
  }

  unproved(data) {
    const effort = this.presentOutcome(data);
    this.must(effort.proof === "", "it says again why there is no proof");
    effort.proof = data.reason;
  }

  verdict(data) {
    this.during(...LIVE);
    if (data.verdict === "write_off") this.move("write_off", data.step, data.dir);
    this.verdicts.push(data);
  }

  asked() {
    this.during("running");
  }

  stuck() {
    this.during(...LIVE);
  }

  paused() {
    this.during(...LIVE);
  }

  unpaused() {
    this.during(...LIVE);
  }

  taken_over() {}
}

/** Tell the course from records; `see` is shown each record before it is taken in. */
export function follow(records, see = () => {}) {
  const course = new Course();
  records.forEach((record, at) => {
    const line = readRecord(record, at + 1);
    if (course.state !== "") see(course, line);
    course.apply(line);
  });
  return course;
}
