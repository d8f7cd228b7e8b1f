// Many cases in one process, for tests: a line of JSON in, a line of JSON out.
import { createInterface } from "node:readline";
import { fromBase64, fromHex, toHex, utf8 } from "./bytes.mjs";
import { verifySpv } from "./bitcoin.mjs";
import { digest, parse } from "./canonical.mjs";
import { verifyCheckpoint } from "./checkpoint.mjs";
import { readHeader, verifyReceipt, verifyStorage } from "./evm.mjs";
import { verifyConsistency } from "./log.mjs";
import { lookUp } from "./trie.mjs";
import { checkRules } from "./rules.mjs";
import { checkBitcoinStep } from "./step_bitcoin.mjs";
import { checkEvmStep } from "./step_evm.mjs";
import { judged } from "./verify.mjs";

const bytes = (hex) => fromHex(hex, "case");

const CASES = {
  canonical: ({ text }) => ({ digest: digest(parse(fromBase64(text, "case"))) }),
  bundle: ({ bundle, trust }) => judged(fromBase64(bundle, "case"), trust === null ? null : utf8(trust)),
  spv: ({ proof, policy }) => {
    const facts = verifySpv(proof, { ...policy, minWork: BigInt(policy.min_work) });
    const { txid, block, height, confirmations, work } = facts;
    return { txid, block, height, confirmations, work: String(work) };
  },
  checkpoint: ({ note, rotations, origin, address }) => {
    const { size, root } = verifyCheckpoint(note, rotations, origin, address);
    return { size, root };
  },
  consistency: ({ first, second, roots, path }) => verifyConsistency(first, second, ...roots.map(bytes), path.map(bytes)) ?? {},
  path: ({ root, key, nodes }) => {
    const value = lookUp(bytes(root), bytes(key), nodes.map(bytes));
    return { value: value === null ? null : toHex(value) };
  },
  evm_step: ({ step, chain, dir, record, proofs, context }) => {
    const shown = checkEvmStep(step, chain, dir, record, proofs, context);
    return { blocks: shown.blocks.map((ref) => ref.block) };
  },
  bitcoin_step: ({ step, terms, chain, dir, record, proofs, context, policy }) => {
    const [known, claims] = [{ ...policy, minWork: BigInt(policy.min_work) }, new Set(context.claims)];
    const shown = checkBitcoinStep(step, terms, chain, dir, record, proofs, { ...context, claims }, known);
    return { blocks: [shown.block] };
  },
  rules: ({ records }) => checkRules(records).checks.map(([name, status]) => [name, status]),
  receipt: ({ proof }) => {
    const { block, height, index, succeeded, tx } = verifyReceipt(proof);
    return { block, height, index, succeeded, tx: tx.hash, sender: tx.sender };
  },
  storage: ({ proof }) => {
    const { block, height, status, contract, group, opId } = verifyStorage(proof);
    return { block, height, status, contract, group, op_id: opId };
  },
  header: ({ rlp }) => {
    const { block, height } = readHeader(rlp);
    return { block, height };
  },
};

function answer(line) {
  const { kind, ...rest } = JSON.parse(line);
  try {
    return CASES[kind](rest);
  } catch (error) {
    return { refused: error.check ?? error.constructor.name };
  }
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  process.stdout.write(`${JSON.stringify(answer(line))}\n`);
}
