// What evidence must show of a step on an EVM chain. Not here: the action `call` (its events and
// arguments need an ABI encoder), which is "not verified".
import { Unverified, need } from "./errors.mjs";
import { concat, fromHex, padded, sha256, toHex, utf8, word } from "./bytes.mjs";
import { HEX32, isWhole, matches } from "./fields.mjs";
import { hasLog, operations, paramsHash, topicOf, verifyAncestor, verifyReceipt, verifyStorage } from "./evm.mjs";
import { digest } from "./canonical.mjs";

const KINDS = ["evm.receipt/v1", "evm.storage/v1", "evm.ancestor/v1"];
const OPERATION_KIND = { lock: 1, hold: 2, mint: 3 };
const MADE = { forward: 1n, confirm: 2n, undo: 3n };
const FITS = { forward: [1, 2, 3], confirm: [2], undo: [3] };
const ELSEWHERE = { forward: [4n], confirm: [3n, 4n], undo: [2n, 4n] };
const [COIN, ZERO] = ["00".repeat(20), "00".repeat(32)];

const FORM = "step-form";
const ADDRESS = /^0x[0-9a-fA-F]{40}$/;
const ACTIONS = ["transfer", "pay", "approve", "call", "lock", "hold", "mint"];
export const opIdOf = (saga, step) => digest({ op: 1, saga, step });
export const sagaWord = (saga) => toHex(sha256(utf8(`saga:${saga}`)));

function address(text) {
  need(matches(ADDRESS)(text), FORM, "not an address");
  return text.slice(2).toLowerCase();
}

function amountOf(text) {
  need(typeof text === "string" && /^(?:0|[1-9][0-9]{0,77})$/.test(text), FORM, "not an amount");
  const amount = BigInt(text);
  need(amount < 2n ** 256n, FORM, "an amount beyond 256 bits");
  return amount;
}

/** A hash as records and plans have it on these chains: with 0x. */
function plainHash(text) {
  need(typeof text === "string" && /^0x[0-9a-f]{64}$/.test(text), FORM, "not a hash with 0x");
  return text.slice(2);
}

const assetOf = (action) => ((action.token ?? null) === null ? COIN : address(action.token));

/** What an operation of ours was opened with. */
function termsOf(action, context) {
  const hold = action.kind === "hold";
  need(!hold || isWhole(context.expiry?.time), FORM, "a hold without its expiry");
  need(!hold || matches(HEX32)(context.hashlock), FORM, "a hold without its hashlock");
  return {
    kind: OPERATION_KIND[action.kind], asset: assetOf(action), amount: amountOf(action.amount), to: address(action.to),
    hashlock: hold ? context.hashlock : ZERO, refundAfter: hold ? context.expiry.time : 0,
  };
}

/** The words of the event's data. */
const wordsOf = (terms) =>
  toHex(concat(word(terms.kind), padded(fromHex(terms.asset, FORM)), word(terms.amount), paramsHash(terms)));

// ------------------------------------------------------------ place and claim

function checkKinds(step, record, proofs) {
  const named = record.evidence.map((one) => one.kind);
  const most = step.action.kind in OPERATION_KIND ? KINDS.length : 1;
  need(named.length >= 1 && named.length <= most, "step-kinds", "another number of proofs");
  const fits = named.every((kind, at) => kind === KINDS[at] && kind === proofs[at].kind);
  need(fits, "step-kinds", "other kinds, or another order");
}

function checkPlace(receipt, record, chain) {
  need(receipt.chain === chain, "step-chain", "a proof of another chain");
  need(receipt.tx.hash === plainHash(record.tx), "step-tx", "another transaction");
  need(receipt.block === plainHash(record.block), "step-block", "another block");
  need(receipt.height === record.height, "step-block", "another height");
}

/** Whether the transaction consumes what the effort claimed. */
function claimed(receipt, payer, claims) {
  return receipt.tx.sender === payer && claims.some(([account, nonce]) =>
    matches(ADDRESS)(account) && address(account) === payer && isWhole(nonce) && BigInt(nonce) === receipt.tx.nonce);
}

// ------------------------------------------------------------ effects of transfers and approvals

function tokenEvent(signature, token, from, to, amount) {
  const topics = [topicOf(signature), ...[from, to].map((one) => toHex(padded(fromHex(one, FORM))))];
  return (receipt) => hasLog(receipt, token, topics, word(amount));
}

function payment(action, from, to, amount) {
  if ((action.token ?? null) !== null) return tokenEvent("Transfer(address,address,uint256)", assetOf(action), from, to, amount);
  return (receipt) => receipt.tx.to === to && receipt.tx.value === amount;
}

/** Who pays for an effect that only its claim binds, and how to see the effect. */
function claimBound(action, direction, context) {
  const { kind } = action;
  const [account, undo] = [address(action.account), direction === "undo"];
  need(!undo || kind !== "pay", "step-direction", "a payment has no undo");
  need((direction === "confirm") === (action.after_pivot === true), "step-direction", "the step does not act there");
  if (kind === "approve") {
    const former = undo ? context.forward?.former_allowance : action.amount;
    const [token, spender] = [address(action.token), address(action.spender)];
    return { payer: account, seen: tokenEvent("Approval(address,address,uint256)", token, account, spender, amountOf(former)) };
  }
  const [from, to] = undo ? [address(action.to), account] : [account, address(action.to)];
  return { payer: from, seen: payment(action, from, to, amountOf(action.amount)) };
}

function checkClaimBound(step, direction, record, receipt, context) {
  const { payer, seen } = claimBound(step.action, direction, context);
  need(claimed(receipt, payer, context.claims), "step-claim", "no transaction of this step");
  const made = receipt.succeeded && seen(receipt);
  need(made === (record.outcome === "done"), "step-effect", "the effect is not what the record says");
}

// ------------------------------------------------------------ effects of operations

function madeIn(receipt, found, status, words) {
  return receipt.succeeded && found.some((one) => one.status === status && one.words === words);
}

function checkOperation(step, direction, record, receipt, context) {
  const { action } = step;
  need(action.after_pivot !== true, "step-direction", "an operation after the pivot");
  if ((action.code?.[action.contract] ?? null) !== null) plainHash(action.code[action.contract]);
  address(action.account);
  const found = operations(receipt, address(action.contract), address(action.group), context.opId);
  const words = wordsOf(termsOf(action, context));
  const made = madeIn(receipt, found, MADE[direction], words);
  if (record.outcome === "done") {
    need(made, "step-effect", "the receipt has no such event");
    return;
  }
  need(!made, "step-effect", "the effect is there, although the record denies it");
  const foreign = (one) => direction === "forward" && one.words !== words;
  const follows = found.some((one) => FITS[direction].includes(Number(one.status)) && !foreign(one));
  need(!receipt.succeeded || !follows, "step-effect", "an event that can only follow on the effect");
  const elsewhere = found.some((one) => ELSEWHERE[direction].includes(one.status) || (one.status === 1n && foreign(one)));
  if (receipt.succeeded && elsewhere) return;
  need(claimed(receipt, address(action.account), context.claims), "step-claim", "no transaction of this step");
}

function checkStorage(step, direction, record, receipt, storage, context) {
  const { action } = step;
  need(storage.contract === address(action.contract), "step-state", "another contract");
  need(storage.code === plainHash(action.code?.[action.contract]), "step-state", "another code than the plan pins");
  need(storage.group === address(action.group) && storage.opId === context.opId, "step-state", "another operation");
  need(storage.height >= receipt.height, "step-state", "an earlier block shows nothing");
  const terms = termsOf(action, context);
  const same = storage.terms === null || Object.entries(storage.terms).every(([name, value]) =>
    value === (typeof terms[name] === "string" ? BigInt(`0x${terms[name]}`) : BigInt(terms[name])));
  const fits = FITS[direction].includes(storage.status);
  if (record.outcome === "done") {
    need(fits && same && storage.kind === terms.kind, "step-state", `the operation's status is ${storage.status}`);
    return;
  }
  const otherTerms = direction === "forward" && storage.terms !== null && !same;
  need(!fits || otherTerms, "step-state", "a status that shows the effect");
}

// ------------------------------------------------------------ together

/** Blocks that the verifier itself has to believe, and those that the evidence ties to them. */
function blocksOf(receipt, storage, ancestor) {
  if (storage === undefined || storage.block === receipt.block) {
    need(storage === undefined || ancestor === undefined, "step-kinds", "an ancestor of no use");
    return { blocks: [receipt], derived: [] };
  }
  need(storage.height > receipt.height, "step-state", "another block of the same height");
  if (ancestor === undefined) return { blocks: [receipt, storage], derived: [] };
  need(ancestor.block === storage.block, "step-ancestor", "not an ancestor of the storage's block");
  const tied = ancestor.ancestor === receipt.block && ancestor.ancestorHeight === receipt.height;
  need(tied, "step-ancestor", "not the receipt's block");
  return { blocks: [storage], derived: [{ ref: receipt, from: storage }] };
}

/** Check that proofs show the outcome of a step that a record tells. */
export function checkEvmStep(step, chain, direction, record, proofs, context) {
  need(ACTIONS.includes(step.action.kind), FORM, "an action that these chains do not have");
  need(Object.hasOwn(FITS, direction), "step-direction", "a direction that no step has");
  need(["done", "not_done"].includes(record.outcome) && isWhole(record.height), FORM, "a record of another form");
  need(typeof step.action.after_pivot === "boolean", FORM, "an action without its place in the plan");
  checkKinds(step, record, proofs);
  if (step.action.kind === "call") throw new Unverified("this verifier does not read calls");
  const receipt = verifyReceipt(proofs[0]);
  checkPlace(receipt, record, chain);
  if (!(step.action.kind in OPERATION_KIND)) {
    checkClaimBound(step, direction, record, receipt, context);
    return blocksOf(receipt);
  }
  checkOperation(step, direction, record, receipt, context);
  const storage = proofs.length > 1 ? verifyStorage(proofs[1]) : undefined;
  const ancestor = proofs.length > 2 ? verifyAncestor(proofs[2]) : undefined;
  for (const more of [storage, ancestor]) need(more === undefined || more.chain === chain, "step-chain", "another chain");
  if (storage !== undefined) checkStorage(step, direction, record, receipt, storage, context);
  return blocksOf(receipt, storage, ancestor);
}
