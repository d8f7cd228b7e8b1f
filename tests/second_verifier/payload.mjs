// The payload that records make: what participants sign.
import { need } from "./errors.mjs";
import { isText, isWhole, matches } from "./fields.mjs";

const ESCROWS = ["lock", "hold", "mint"];
const CONFIRMED = { lock: "released", hold: "redeemed", mint: "credited" };
const UNDONE = { lock: "refunded", hold: "refunded", mint: "cancelled" };

/** The CAIP-2 name of a chain; kinds without one have their kind and their name in the plan. */
export function chainName(name, terms) {
  if (terms.kind === "evm") {
    need(isWhole(terms.chain_id) && terms.chain_id >= 1, "step-chain", "terms without a chain id");
    return `eip155:${terms.chain_id}`;
  }
  if (terms.kind !== "bitcoin") return `${terms.kind}:${name}`;
  need(matches(/^[0-9a-f]{64}$/)(terms.genesis), "step-chain", "terms without a genesis hash");
  return `bip122:${terms.genesis.slice(0, 32)}`;
}

function statesOf(step, dir, phase) {
  const made = ESCROWS.includes(step.action.kind) ? "open" : "made";
  const first = dir === "forward" || step.class === "retriable";
  const before = first ? "none" : made;
  if (phase === "not_done") return [before, before];
  if (dir === "undo") return [before, UNDONE[step.action.kind] ?? "reversed"];
  return [before, first ? made : CONFIRMED[step.action.kind] ?? "made"];
}

function effectOf(course, { step, dir, effort }) {
  const [before, after] = statesOf(step, dir, effort.phase);
  return {
    step: step.id, dir, gen: effort.gen, chain: chainName(step.chain, course.plan.chains[step.chain]),
    tx: effort.tx, block: effort.block, height: effort.height, outcome: effort.phase, before, after,
    evidence: (effort.evidence?.evidence ?? []).map((one) => one.sha256),
    unproved: ["", "proved"].includes(effort.proof) ? null : effort.proof,
  };
}

function finalityOf(name, terms) {
  const nodes = "nodes" in terms ? terms.nodes : 1;
  need(isWhole(nodes) && nodes >= 1, "record-form", "a chain's nodes");
  need((terms.finality ?? null) === null || isText(terms.finality), "record-form", "a chain's finality");
  const rule = terms.finality ?? `${terms.finality_blocks} blocks`;
  return { chain: chainName(name, terms), rule, nodes, quorum: Math.floor(nodes / 2) + 1, single_node: nodes === 1 };
}

export function payloadOf(course, hashes) {
  const chains = [...new Set(course.steps.map((step) => step.chain))];
  return {
    v: 1, saga: course.first.saga, name: course.plan.name, digest: course.first.digest,
    outcome: course.ended ? course.state : "open", records: hashes.length, first: hashes[0], last: hashes.at(-1),
    effects: course.settled().map((one) => effectOf(course, one)),
    finality: Object.fromEntries(chains.map((name) => [name, finalityOf(name, course.plan.chains[name])])),
    participants: course.plan.participants ?? {},
  };
}
