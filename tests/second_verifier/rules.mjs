// What the records of a saga must keep, each rule on its own. A rule is shown every record before
// the course takes it in, and says why it is broken (or nothing).
import { Refused } from "./errors.mjs";
import { encode } from "./canonical.mjs";
import { isWhole } from "./fields.mjs";
import { follow } from "./course.mjs";
import { chainName } from "./payload.mjs";

const OWN_ID = ["lock", "hold", "mint"];
const AFTER = ["reopened", "taken_over", "intent", "included", "orphaned", "done", "not_done", "withdrawn"];
const acts = (step) => step.class !== "retriable";
const late = (course, line) => Math.floor(line.atMs / 1000) > course.first.deadline_s;
const keyOf = (data) => `${data.step}/${data.dir}`;

/** The same for two names of one chain: what evidence is compared with, not the terms beside it. */
function placeOf(course, step) {
  try {
    return chainName(step.chain, course.plan.chains[step.chain]);
  } catch {
    return step.chain; // terms without a name: the payload's check refuses them
  }
}

/** Persons are told apart without regard to case and outer white space. */
const personOf = (by) => by.trim().toUpperCase().toLowerCase();
const claimText = (claim) => claim.map(([resource, value]) => `${resource} ${value}`).sort();

// ------------------------------------------------------------ intents, effects, claims

function intents() {
  const [attempts, shown] = [new Map(), new Set()];
  const intended = (course, { data }) => {
    const [step, effort] = [course.step(data.step), course.effort(data.step, data.dir)];
    if (data.chain !== step.chain) return "the step is on another chain";
    if (data.n !== effort.attempts.length + 1) return "it does not count the attempts";
    if (attempts.has(data.tx)) return "another intent names its transaction";
    if (shown.has(`${step.chain} ${data.tx}`)) return "a block showed its transaction before it";
    if (data.purpose === "effect" && data.dir === "forward") {
      if (data.gen > 1 && course.state !== "confirming") return "made anew without a commit";
      const lock = data.hashlock ?? null;
      if (step.reveals && (lock === null || ![null, lock].includes(effort.hashlock))) return "no hashlock, or another";
    }
    attempts.set(data.tx, data);
  };
  const serves = (step, data, attempt) => {
    if (keyOf(attempt) === keyOf(data)) return attempt.purpose === "effect" || step.action.kind === "consolidate";
    const takesBack = attempt.step === data.step && attempt.dir === "forward" && data.dir === "undo";
    return takesBack && step.action.kind === "mint" && attempt.purpose === "tombstone";
  };
  const inBlock = (course, { kind, data }) => {
    const [step, effort] = [course.step(data.step), course.effort(data.step, data.dir)];
    shown.add(`${step.chain} ${data.tx}`);
    if (effort.attempts.length === 0 && !effort.revealed) return "no intent and no reveal before it";
    const attempt = attempts.get(data.tx);
    const foreign = kind !== "not_done" && attempt !== undefined && !serves(step, data, attempt);
    if (foreign) return "its transaction is another effort's";
  };
  return (course, line) => {
    if (line.kind === "intent") return intended(course, line);
    if (["included", "done", "not_done"].includes(line.kind)) return inBlock(course, line);
  };
}

/** Whether two effects in one transaction are each bound to an operation id or an output of their own. */
function apart(course, one, other) {
  const steps = [one, other].map((data) => course.step(data.step));
  if (one.step === other.step || !steps.every((step) => OWN_ID.includes(step.action.kind))) return false;
  const outputs = steps.every((step) => course.plan.chains[step.chain].kind === "bitcoin") && one.dir === "forward";
  return !outputs || other.dir !== "forward" || (one.facts.outpoint ?? null) !== (other.facts.outpoint ?? null);
}

function oneEffect() {
  const served = new Map();
  return (course, { kind, data }) => {
    if (!["included", "done"].includes(kind)) return;
    const tx = `${placeOf(course, course.step(data.step))} ${data.tx.replace(/^0x/, "")}`;
    const others = (served.get(tx) ?? []).filter((one) => keyOf(one) !== keyOf(data));
    served.set(tx, [...others, data]);
    if (!others.every((one) => apart(course, one, data))) return "its transaction is counted for another effort";
  };
}

function claims() {
  const [owners, shared] = [new Map(), new Map()];
  return (course, { kind, data }) => {
    if (kind !== "intent") return;
    const [step, claim] = [course.step(data.step), claimText(data.claim)];
    if (new Set(claim).size !== claim.length) return "it claims one thing twice";
    for (const one of claim) {
      const thing = `${placeOf(course, step)} ${one}`;
      if ((owners.get(thing) ?? keyOf(data)) !== keyOf(data)) return "another effort claims it";
      owners.set(thing, keyOf(data));
    }
    if (data.purpose === "tombstone") return;
    const generation = `${keyOf(data)} ${data.gen}`;
    if ((shared.get(generation) ?? claim.join()) !== claim.join()) return "its generation claims otherwise";
    shared.set(generation, claim.join());
    const reserved = (course.first.coins ?? []).filter(([id]) => id === data.step).map((one) => one[2]);
    if (reserved.length === 0 || data.gen > 1 || data.dir !== "forward") return;
    const spent = new Set(data.claim.map((one) => one[0]));
    const same = spent.size === new Set(reserved).size && reserved.every((one) => spent.has(one));
    if (!same) return "it spends other coins than were reserved";
  };
}

// ------------------------------------------------------------ order

function forwardOrder() {
  return (course, line) => {
    const { kind, data } = line;
    if (kind !== "intent" || data.purpose !== "effect") return;
    const step = course.step(data.step);
    if (data.dir === "forward" && !acts(step)) return "the step acts after the decision only";
    if (data.dir === "confirm" && !step.confirm) return "the step has no confirm";
    if (data.dir !== "forward" || course.state !== "running") return;
    if (late(course, line)) return "the deadline had passed";
    if (course.effort(step.id, "forward").attempts.length > 0) return;
    const ready = (earlier) => {
      const phases = step.class === "pivot" || earlier.await === "final" ? ["done"] : ["included", "done"];
      return phases.includes(course.effort(earlier.id, "forward").phase);
    };
    if (!course.steps.slice(0, course.steps.indexOf(step)).every(ready)) return "a step before it has not landed";
  };
}

function decision() {
  return (course, line) => {
    if (line.kind !== "decided") return;
    if (course.decision !== "") return "it was decided before";
    const pivot = course.pivot;
    const phase = pivot && course.effort(pivot.id, "forward").phase;
    if (line.data.decision === "rollback") {
      return pivot && !["idle", "not_done", "written_off"].includes(phase) ? "the pivot may stand" : undefined;
    }
    const beyond = phase === "done";
    if (!beyond && late(course, line)) return "the deadline had passed";
    const final = (step) => {
      const effort = course.effort(step.id, "forward");
      return !acts(step) || effort.phase === "done" || (beyond && effort.wasDone);
    };
    if (!course.steps.every(final)) return "a forward effect is not final";
  };
}

function reveals() {
  return (course, { kind, data }) => {
    const step = course.step(data.step);
    if (kind === "intent" && data.dir === "confirm" && step.reveals) {
      return course.effort(step.id, "confirm").revealed ? undefined : "no reveal before it";
    }
    if (kind !== "reveal") return;
    if (!step.reveals) return "the step has no preimage";
    if (data.deliver !== step.deliver) return "another channel than the plan's";
    if (data.hashlock !== course.effort(step.id, "forward").hashlock) return "another hashlock than the hold's";
  };
}

function undoOrder() {
  const takenBack = (course, step) => {
    const { phase } = course.effort(step.id, "forward");
    if (["idle", "not_done", "written_off"].includes(phase)) return true;
    return phase === "done" && ["done", "written_off"].includes(course.effort(step.id, "undo").phase);
  };
  return (course, { kind, data }) => {
    if (kind !== "intent" || data.dir !== "undo") return;
    const step = course.step(data.step);
    if (!step.undo) return "the step has no undo";
    if (course.state === "confirming") {
      const ruled = course.verdicts.some((one) => one.verdict === "reclaim" && one.step === step.id);
      return ruled ? undefined : "after a commit nothing is taken back without a verdict";
    }
    if (course.effort(step.id, "forward").phase !== "done") return "what it takes back is not done";
    const later = course.steps.slice(course.steps.indexOf(step) + 1).filter(acts);
    if (!later.every((one) => takenBack(course, one))) return "a later step is not taken back";
  };
}

function undoRecords() {
  return (course, { kind, data }) => {
    if (kind !== "done" || data.dir !== "undo") return;
    if (data.reason !== "atomicity_failure" || data.result !== "undone") return "its reason or result";
    if (!isWhole(data.executed_ms) || !isWhole(data.undone_ms)) return "its times";
    if (data.executed_ms !== course.effort(data.step, "forward").executedMs) return "another time of the effect";
    if (data.cause === undefined || course.cause === null || encode(data.cause) !== encode(course.cause)) return "another cause";
  };
}

// ------------------------------------------------------------ persons, evidence, the end

function operator() {
  return (course, { kind, data }) => {
    if (kind === "verdict" && ["reclaim", "write_off"].includes(data.verdict)) {
      const persons = new Set(data.by.map(personOf).filter((one) => one !== ""));
      if (persons.size < 2) return "value is given up by the word of one person";
      if (data.verdict === "reclaim" && !course.step(data.step).reveals) return "no preimage was revealed";
    }
    const ending = kind === "closed" && (data.state === "closed_by_operator") !== course.givenUp;
    if (ending) return "its end does not say who gave value up";
  };
}

function proofs() {
  const allProved = (course) => course.steps.every((step) => {
    const asked = course.plan.chains[step.chain].proof === "required" && acts(step) && step.class !== "pivot";
    return !asked || course.effort(step.id, "forward").proof === "proved";
  });
  return (course, { kind, data }) => {
    if (["proved", "unproved"].includes(kind)) {
      const wanted = course.plan.chains[course.step(data.step).chain].proof ?? "none";
      return wanted === "none" ? "the plan asks for no evidence there" : undefined;
    }
    const { pivot } = course;
    const commits = kind === "decided" && data.decision === "commit" && pivot === undefined;
    const pays = kind === "intent" && data.dir === "forward" && pivot?.id === data.step &&
      course.effort(data.step, "forward").attempts.length === 0;
    if ((commits || pays) && !allProved(course)) return "evidence that is required was not there";
  };
}

/** Why a saga could not have ended so; undefined where it could. */
function unfinished(course, end) {
  const given = end === "closed_by_operator";
  const settledBy = given ? ["done", "written_off"] : ["done"];
  for (const step of course.steps) {
    const [forward, confirm, undo] = ["forward", "confirm", "undo"].map((way) => course.effort(step.id, way).phase);
    if (course.decision === "commit") {
      if (acts(step) && !settledBy.includes(forward)) return `the effect of ${step.id} is ${forward}`;
      if (undo === "done" && !given) return `the undo of ${step.id} is done`;
      if (step.confirm && !settledBy.includes(confirm) && undo !== "done") return `the confirm of ${step.id} is ${confirm}`;
    } else if (acts(step) && !["idle", "not_done", ...(given ? ["written_off"] : [])].includes(forward)) {
      if (forward !== "done") return `the effect of ${step.id} is ${forward}`;
      if (!settledBy.includes(undo)) return `the undo of ${step.id} is ${undo}`;
    }
  }
}

function closing() {
  return (course, { kind, data }) => (kind === "closed" ? unfinished(course, data.state) : undefined);
}

function afterEnd() {
  return (course, { kind }) => (course.ended && !AFTER.includes(kind) ? "the saga had ended" : undefined);
}

function fees() {
  return (course, { kind, data }) => {
    if (kind !== "closed") return;
    const paid = [...course.fees].filter((one) => one[1] !== 0n).map(([asset, sum]) => `${asset} ${sum}`);
    const said = Object.entries(data.fees).filter((one) => one[1] !== "0").map(([asset, sum]) => `${asset} ${sum}`);
    if (paid.sort().join() !== said.sort().join()) return "not the sum of the fees in its outcomes";
  };
}

const RULES = {
  intents, "one-effect": oneEffect, claims, "forward-order": forwardOrder, decision, reveals, "undo-order": undoOrder,
  "undo-records": undoRecords, operator, proofs, closing, "after-end": afterEnd, fees,
};

// ------------------------------------------------------------ together

/** Rules that records which a recovery could not know would break. */
const EXCUSED = ["forward-order", "decision", "undo-order", "proofs"];

/** Number of the first intent that was written when a journal was recovered; Infinity without one. */
function recoveredAt(records) {
  const marked = ({ kind, data }) => kind === "intent" && (data?.adopted === true || data?.unsent === true);
  const at = records.findIndex(marked);
  return at < 0 ? Infinity : at + 1;
}

/** Every rule's check as [name, status, reason], and the course if all records could be followed. */
export function checkRules(records) {
  const [rules, broken] = [Object.entries(RULES).map(([name, make]) => [name, make()]), new Map()];
  const see = (course, line) => {
    const known = !("step" in line.data) || course.step(line.data.step) !== undefined;
    for (const [name, rule] of known ? rules.filter((one) => !broken.has(one[0])) : []) {
      const why = rule(course, line);
      if (why !== undefined) broken.set(name, { seq: line.seq, why: `record ${line.seq} (${line.kind}): ${why}` });
    }
  };
  let [course, halted] = [null, null];
  try {
    course = follow(records, see);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    halted = error.message;
  }
  const first = ["rules.transitions", halted === null ? "passed" : "failed", halted ?? ""];
  const state = { broken, halted, course, recovered: recoveredAt(records) };
  return { checks: [first, ...rules.map(([name]) => [`rules.${name}`, ...found(name, state)])], course };
}

function found(name, { broken, halted, course, recovered }) {
  if (broken.has(name)) {
    const { seq, why } = broken.get(name);
    const excused = EXCUSED.includes(name) && seq >= recovered;
    return [excused ? "not verified" : "failed", why];
  }
  if (halted !== null) return ["not verified", "the records could not be followed to their end"];
  if (name === "intents" && recovered < Infinity) return ["not verified", "records were lost before a recovery"];
  if (name !== "closing") return ["passed", ""];
  const open = course.ended ? unfinished(course, course.state) : `the saga is ${course.state}`;
  return open === undefined ? ["passed", ""] : ["not verified", open];
}
