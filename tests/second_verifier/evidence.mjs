// Each outcome bound to its step by its proofs, each block carried by the verifier's own trust.
import { Refused, Unverified } from "./errors.mjs";
import { chainName } from "./payload.mjs";
import { checkEvmStep, opIdOf } from "./step_evm.mjs";
import { checkBitcoinStep, contextOf } from "./step_bitcoin.mjs";

/** Collects checks; a block that carries several outcomes is told once. */
class Found {
  constructor(report) {
    this.report = report;
    this.headers = new Map();
  }

  header(chain, ref, believe) {
    const [key, subject] = [`${chain} ${ref.block}`, `${chain} ${ref.height} ${ref.block}`];
    if (!this.headers.has(key)) this.headers.set(key, this.report.attempt("header.trusted", subject, believe));
    return this.headers.get(key);
  }
}

function believed(trust, ref) {
  if (trust === undefined) throw new Unverified("the trust file knows nothing of the chain");
  const by = trust.believes(ref.block, ref.height);
  if (by === null) throw new Unverified("no input of the trust file knows this block");
  return by;
}

/** Claims of an effort's attempts but tombstones; the end of a generation is shown by its own. */
function claimsOf(effort) {
  const attempts = effort.attempts.filter((one) => one.purpose !== "tombstone");
  const its = effort.phase === "done" ? attempts : attempts.filter((one) => one.gen === effort.gen);
  return its.flatMap((one) => one.claim);
}

function evmContext(course, step, effort) {
  const forward = course.effort(step.id, "forward");
  const attempts = forward.attempts.filter((one) => one.purpose === "effect");
  const made = attempts.find((one) => one.tx === forward.tx) ?? attempts.at(-1);
  return {
    opId: opIdOf(course.first.saga, step.id), expiry: course.first.expiries[step.id], hashlock: forward.hashlock,
    forward: made?.facts, claims: claimsOf(effort),
  };
}

function accepted(report, subject, proofs, trust) {
  report.attempt("evidence.step", subject, () => {
    if (trust === undefined) throw new Unverified("the trust file knows nothing of the chain");
    const taken = proofs.every((proof) => trust.schemes.has(proof.kind));
    if (!taken) throw new Unverified("the trust file does not take evidence of this kind");
    return "";
  });
}

function onEvm(found, course, { step, dir, effort }, proofs, chain, trust) {
  const shown = checkEvmStep(step, chain, dir, effort.evidence, proofs, evmContext(course, step, effort));
  accepted(found.report, `${step.id}/${dir}`, proofs, trust);
  for (const ref of shown.blocks) found.header(chain, ref, () => believed(trust, ref));
  for (const { ref, from } of shown.derived) {
    found.header(chain, ref, () => `ancestor of ${from.block} (${believed(trust, from)})`);
  }
}

/** What carries the block; no header of the run may be another block than one that is believed there. */
function carriedRun(trust, spv) {
  for (const [name, height] of spv.run) trust.believes(name, height);
  const by = trust.carrier(spv.anchor);
  if (spv.anchor === spv.block) return by;
  return `${by}: ${spv.pinned ? "it comes before" : `work ${spv.work} after`} ${spv.anchor}`;
}

/** A run without a block that the verifier knows is not wrong; nothing speaks for it. */
function uncovered(check) {
  try {
    return check();
  } catch (error) {
    if (error.check === "anchor-missing") throw new Unverified(error.message);
    throw error;
  }
}

function onBitcoin(found, course, records, { step, dir, effort }, proofs, chain, trust) {
  if (!trust?.policy) throw new Unverified("the trust file knows no block of the chain");
  const terms = course.plan.chains[step.chain];
  const context = contextOf(records, effort.evidence);
  const spv = uncovered(() => checkBitcoinStep(step, terms, chain, dir, effort.evidence, proofs, context, trust.policy));
  accepted(found.report, `${step.id}/${dir}`, proofs, trust);
  found.header(chain, spv, () => carriedRun(trust, spv));
}

function checkOutcome(found, course, bundle, outcome, trusted) {
  const { step, dir, effort } = outcome;
  if (effort.evidence === null) throw new Unverified(effort.proof || "no proof");
  const terms = course.plan.chains[step.chain];
  if (!["evm", "bitcoin"].includes(terms.kind)) throw new Unverified(`no verifier for ${terms.kind}`);
  const named = effort.evidence.evidence;
  const proofs = named.map((one) => bundle.evidence.get(one.sha256));
  if (proofs.includes(undefined)) throw new Refused("evidence", "a proof is missing");
  if (!named.every((one, at) => one.kind === proofs[at].kind)) throw new Refused("step-kinds", "other kinds");
  const chain = chainName(step.chain, terms);
  const trust = trusted?.chains.get(chain);
  if (terms.kind === "evm") onEvm(found, course, outcome, proofs, chain, trust);
  else onBitcoin(found, course, bundle.records, outcome, proofs, chain, trust);
}

export function checkEvidence(report, course, bundle, trusted) {
  const outcomes = course.settled();
  const named = new Set(outcomes.flatMap((one) => one.effort.evidence?.evidence ?? []).map((one) => one.sha256));
  report.attempt("evidence.complete", "", () => {
    const same = named.size === bundle.evidence.size && [...named].every((name) => bundle.evidence.has(name));
    if (!same) throw new Refused("evidence-complete", "not exactly the proofs that the outcomes name");
    return "";
  });
  const found = new Found(report);
  for (const outcome of outcomes) {
    const subject = `${outcome.step.id}/${outcome.dir}`;
    report.unlessGood("evidence.step", subject, () => checkOutcome(found, course, bundle, outcome, trusted));
  }
}
