// What evidence must show of a step on Bitcoin: one transaction, bound to the step by what it spends.
import { need } from "./errors.mjs";
import { fromHex, sha256, toHex } from "./bytes.mjs";
import { isObject, isWhole, matches } from "./fields.mjs";
import { NETWORKS, pushOfNumber, verifySpv } from "./bitcoin.mjs";
import { scriptOf } from "./address.mjs";

const FORM = "step-form";
const DIRECTIONS = {
  transfer: ["forward", "confirm", "undo"], pay: ["forward", "confirm"], split: ["forward"], consolidate: ["forward"],
  hold: ["forward", "confirm", "undo"],
};
const OUTPOINT = /^[0-9a-f]{64}:(?:0|[1-9][0-9]{0,9})$/;
const MOST_CLAIMED = 1000;
const MAX_MONEY = 2_100_000_000_000_000n;

function amountOf(text) {
  need(matches(/^(?:0|[1-9][0-9]{0,15})$/)(text) && BigInt(text) <= MAX_MONEY, FORM, "no amount");
  return BigInt(text);
}

function outpoint(text) {
  need(matches(OUTPOINT)(text), FORM, "no outpoint");
  return text;
}

// ------------------------------------------------------------ what the records say

/** Data of the records of one kind about a step (and direction), before a place. */
function dataOf(records, kind, step, dir) {
  return records.filter((one) => one.kind === kind && one.data.step === step && (dir === undefined || one.data.dir === dir))
    .map((one) => one.data);
}

function outcomeAt(records, record) {
  const keys = ["step", "dir", "gen", "tx", "block", "height"];
  const at = records.findLastIndex((one) => one.kind === record.outcome && keys.every((key) => one.data[key] === record[key]));
  need(at >= 0, "step-records", "no such outcome");
  return at;
}

function hashlockOf(records, step) {
  const facts = ["intent", "done"].flatMap((kind) => dataOf(records, kind, step, "forward")).map((one) => one.facts.hashlock);
  const intents = dataOf(records, "intent", step, "forward").map((one) => one.hashlock);
  const said = [...dataOf(records, "reveal", step).map((one) => one.hashlock), ...facts, ...intents];
  const locks = new Set(said.filter((one) => one !== undefined));
  need(locks.size <= 1, "step-records", "two hashlocks");
  return [...locks][0];
}

/** What other records of the saga say of the outcome that a record proves. */
export function contextOf(records, record) {
  const { step, dir } = record;
  const at = outcomeAt(records, record);
  const before = records.slice(0, at);
  const intents = dataOf(before, "intent", step, dir).filter((one) => record.outcome === "done" || one.gen === record.gen);
  const parents = Object.assign({}, ...intents.map((one) => one.facts.parents ?? {}));
  const caps = dataOf(before, "verdict", step).filter((one) => one.verdict === "cap");
  return {
    facts: records[at].data.facts, parents, capPct: caps.at(-1)?.args.pct ?? 100,
    claims: new Set(intents.flatMap((one) => one.claim.map(([resource]) => outpoint(resource)))),
    expiry: records[0].data.expiries[step]?.height, hashlock: hashlockOf(records.slice(0, at + 1), step),
    forward: dataOf(before, "done", step, "forward").at(-1)?.facts,
  };
}

// ------------------------------------------------------------ what the plan says

function readHold(action, context) {
  const { expiry, hashlock } = context;
  need(isWhole(expiry) && expiry >= 1 && expiry < 500_000_000, FORM, "a hold without its expiry");
  need(matches(/^[0-9a-f]{64}$/)(hashlock), FORM, "a hold without its hashlock");
  for (const key of [action.payee, action.payer_key]) need(matches(/^0[23][0-9a-f]{64}$/)(key), FORM, "no public key");
  const push = pushOfNumber(expiry);
  const script = `6382012088a820${hashlock}8821${action.payee}67${push}b17521${action.payer_key}68ac`;
  return { script, expiry, hashlock, output: `0020${toHex(sha256(fromHex(script, FORM)))}` };
}

/** The step's action with its scripts checked against the addresses that people read. */
function readAction(step, chain) {
  const { action } = step;
  const network = NETWORKS[chain].name;
  need(Object.hasOwn(DIRECTIONS, action.kind), FORM, "no action of ours");
  need(scriptOf(action.from, network) === action.source_script, "step-script", "another source");
  const pays = !["hold", "consolidate"].includes(action.kind);
  need(!pays || scriptOf(action.to, network) === action.script, "step-script", "another target");
  const parts = action.kind === "split" ? action.count : 1;
  need(isWhole(parts) && (action.kind !== "split" || (parts >= 2 && parts <= 100)), FORM, "a number of parts");
  return { kind: action.kind, amount: amountOf(action.amount), home: action.source_script, target: action.script, parts };
}

// ------------------------------------------------------------ effects

/** The first output that brings the value home, short of it by no more than the cap. */
const returned = (asked, outputs) =>
  outputs.findIndex((one) => one.script === asked.home && one.value >= asked.amount - asked.cap);

/** Number of the output that carries the effect; -1 where it is not there. */
function effectIn(asked, outputs) {
  if (asked.kind === "transfer" && asked.dir === "undo") return returned(asked, outputs);
  if (asked.kind === "consolidate") return outputs.every((one) => one.script === asked.home) ? 0 : -1;
  const script = asked.hold?.output ?? asked.target;
  const fits = (one) => one.script === script && one.value === asked.amount;
  return outputs.filter(fits).length >= asked.parts ? outputs.findIndex(fits) : -1;
}

/** Truth as Script has it: zero and negative zero are false. */
const isTrue = (item) => item.some((byte, at) => byte !== 0 && !(at === item.length - 1 && byte === 0x80));

/** By which branch an input spends the hold. */
function pathOf(asked, spv, input) {
  const { hold } = asked;
  need(spv.witnesses, "step-witness", "how a hold was spent is left out");
  const items = input.witness;
  need(toHex(items.at(-1) ?? new Uint8Array(0)) === hold.script, "step-path", "another script");
  if (items.length === 4) {
    need(isTrue(items[2]), "step-path", "its third item is false");
    const fits = items[1].length === 32 && toHex(sha256(items[1])) === hold.hashlock;
    need(fits, "step-path", "a value that is not the preimage");
    return "redeem";
  }
  need(items.length === 3 && !isTrue(items[1]), "step-path", "no branch of the hold");
  const { locktime } = spv.tx;
  need(locktime >= hold.expiry && locktime <= 499_999_999 && input.sequence !== 0xffff_ffff, "step-path", "before the expiry");
  need(spv.height > hold.expiry, "step-expiry", "refunded before it could be");
  return "refund";
}

function noWitnesses(spv) {
  need(!spv.witnesses, "step-witness", "witnesses that the step does not need");
}

function holdInput(asked, spv) {
  return spv.tx.inputs[spv.spends.indexOf(asked.outpoint)];
}

function holdDone(asked, spv) {
  const input = holdInput(asked, spv);
  need(input !== undefined, "step-claim", "it does not spend the hold");
  const path = pathOf(asked, spv, input);
  need(path === (asked.dir === "confirm" ? "redeem" : "refund"), "step-effect", "the other branch");
  if (asked.dir === "confirm") return 0;
  const output = returned(asked, spv.tx.outputs);
  need(output >= 0, "step-effect", "the refund does not come home");
  return output;
}

function done(asked, spv) {
  if (asked.spendsHold) return holdDone(asked, spv);
  noWitnesses(spv);
  const own = asked.kind !== "transfer" || asked.dir !== "undo" || asked.gen !== 1 || spv.spends.includes(asked.outpoint);
  need(own && spv.spends.some((one) => asked.claims.has(one)), "step-claim", "it spends nothing that the step claimed");
  const output = effectIn(asked, spv.tx.outputs);
  need(output >= 0, "step-effect", "no output is the effect");
  return output;
}

function conflict(asked, spv) {
  noWitnesses(spv);
  const beside = ([claimed, inputs]) => asked.claims.has(claimed) && !claimed.startsWith(`${spv.txid}:`) &&
    inputs.some((one) => spv.spends.includes(one));
  need(Object.entries(asked.parents).some(beside), "step-claim", "it touches nothing that the step claimed");
}

function notDone(asked, spv) {
  if (asked.spendsHold) {
    const input = holdInput(asked, spv);
    if (input === undefined) return conflict(asked, spv);
    const path = pathOf(asked, spv, input);
    const made = asked.dir === "confirm" ? path === "redeem" : path === "refund" && returned(asked, spv.tx.outputs) >= 0;
    return need(!made, "step-outcome", "the effect is there");
  }
  if (!spv.spends.some((one) => asked.claims.has(one))) return conflict(asked, spv);
  noWitnesses(spv);
  need(effectIn(asked, spv.tx.outputs) < 0, "step-outcome", "the effect is there");
}

// ------------------------------------------------------------ facts

function checkOutput(item, spv, network) {
  need(Array.isArray(item) && item.length === 3 && matches(OUTPOINT)(item[0]), "step-facts", "no output");
  const [txid, number] = item[0].split(":");
  const output = spv.tx.outputs[Number(number)];
  const same = txid === spv.txid && output !== undefined && String(output.value) === item[1];
  need(same && scriptOf(item[2], network) === output.script, "step-facts", "an output that is not there");
}

function checkFacts(facts, spv, output, asked, network) {
  const shown = { time: spv.time_s, spent: spv.spends };
  if (output !== undefined) {
    Object.assign(shown, { outpoint: `${spv.txid}:${output}`, value_sat: String(spv.tx.outputs[output].value) });
  }
  const { hold } = asked;
  if (hold) Object.assign(shown, { hashlock: hold.hashlock, locktime: hold.expiry, witness_script: hold.script });
  for (const [name, value] of Object.entries(shown)) {
    need(!(name in facts) || JSON.stringify(facts[name]) === JSON.stringify(value), "step-facts", `${name} is another`);
  }
  const [claim, outpoints] = [facts.claim ?? [], facts.outpoints ?? []];
  need(Array.isArray(claim) && claim.every((one) => spv.spends.includes(one)), "step-facts", "a claim that it does not spend");
  need(Array.isArray(outpoints) && outpoints.length <= 1000, "step-facts", "no list of outputs");
  outpoints.forEach((item) => checkOutput(item, spv, network));
}

// ------------------------------------------------------------ together

/** Bounds on what records may claim, and the form of what they say of parents. */
function checkContext({ facts, parents, claims }) {
  need(isObject(facts) && isObject(parents), FORM, "facts");
  need(Math.max(claims.size, Object.keys(parents).length) <= MOST_CLAIMED, FORM, "too many outpoints");
  for (const [claimed, inputs] of Object.entries(parents)) {
    need(Array.isArray(inputs) && inputs.length <= MOST_CLAIMED, FORM, "the inputs of a parent");
    [claimed, ...inputs].forEach(outpoint);
  }
  claims.forEach(outpoint);
}

function askedOf(step, chain, dir, record, context) {
  const action = readAction(step, chain);
  need(DIRECTIONS[action.kind].includes(dir), "step-direction", "the action does not act there");
  const hold = action.kind === "hold" ? readHold(step.action, context) : undefined;
  const spendsHold = hold !== undefined && dir !== "forward";
  need(isWhole(context.capPct), FORM, "a cap that is no number");
  const cap = (amountOf(step.fees?.undo ?? "0") * BigInt(context.capPct)) / 100n;
  const back = spendsHold || dir === "undo";
  return {
    ...action, dir, gen: record.gen, hold, spendsHold, cap, claims: context.claims, parents: context.parents,
    outpoint: back ? outpoint(context.forward?.outpoint) : undefined,
  };
}

/** Check that a proof shows the outcome of a step that a record tells. */
export function checkBitcoinStep(step, terms, chain, dir, record, proofs, context, policy) {
  need(proofs.length === 1 && proofs[0].kind === "btc.spv/v1", "step-kinds", "not one proof of its kind");
  need(chain === policy.chain, "step-chain", "another chain than the policy's");
  need(record.step === step.id && record.dir === dir, FORM, "a record of another step");
  need(isWhole(record.gen) && ["done", "not_done"].includes(record.outcome), FORM, "a record of another form");
  need(isWhole(terms.finality_blocks), FORM, "terms without a finality");
  checkContext(context);
  const asked = askedOf(step, chain, dir, record, context);
  const spv = verifySpv(proofs[0], policy);
  need(spv.txid === record.tx, "step-tx", "another transaction");
  need(spv.block === record.block && spv.height === record.height, "step-block", "another block");
  need(spv.confirmations >= terms.finality_blocks, "step-confirmations", "a run shorter than the plan's");
  const output = record.outcome === "done" ? done(asked, spv) : notDone(asked, spv);
  checkFacts(context.facts, spv, output, asked, NETWORKS[chain].name);
  return spv;
}
