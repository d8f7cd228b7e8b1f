// A second verifier of settlement bundles, written from proofs/README.md.
//
//     node verify.mjs BUNDLE [TRUST]     a report as JSON; exit 0 valid, 40 invalid, 41 undecided, 2 usage
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Refused, Unverified, need } from "./errors.mjs";
import { fromBase64, fromHex } from "./bytes.mjs";
import { digest, encodeBytes, equal } from "./canonical.mjs";
import { isObject } from "./fields.mjs";
import { readBundle } from "./bundle.mjs";
import { readTrust } from "./trust.mjs";
import { checkRules } from "./rules.mjs";
import { payloadOf } from "./payload.mjs";
import { checkEvidence } from "./evidence.mjs";
import { verifyCheckpoint } from "./checkpoint.mjs";
import { verifyConsistency, verifyInclusion } from "./log.mjs";
import { verifySignature } from "./participants.mjs";
import { preimagesOut, signedBytesOut } from "./secrets.mjs";
import { Report } from "./report.mjs";

// ------------------------------------------------------------ records

function checkStream({ records }) {
  const stream = `saga:${records[0].data?.saga}`;
  for (const record of records) {
    need(record.stream === stream, "record-stream", "a record of another stream");
    need(record.v === 1, "record-version", "a record of another format");
  }
}

function checkSequence({ records }) {
  records.forEach((record, at) => need(record.seq === at + 1, "record-sequence", `record ${at + 1}`));
}

function checkChain({ records, hashes }) {
  records.forEach((record, at) => {
    const before = at === 0 ? "0".repeat(64) : hashes[at - 1];
    need(record.prev === before, "record-chain", `record ${at + 1} does not name the one before`);
  });
}

function checkDigest({ records: [{ data }] }) {
  need(isObject(data) && isObject(data.plan), "plan-digest", "no plan");
  need(digest(data.plan) === data.digest, "plan-digest", "the plan has another digest");
}

function checkRecords(report, bundle) {
  const checks = { stream: checkStream, sequence: checkSequence, "hash-chain": checkChain, digest: checkDigest };
  return Object.entries(checks).map(([name, check]) => report.attempt(`records.${name}`, "", () => check(bundle)))
    .every((good) => good);
}

// ------------------------------------------------------------ payload, log, signatures, secrets

function checkPayload(report, bundle, course) {
  report.attempt("payload.equal", "", () => {
    const payload = payloadOf(course, bundle.hashes);
    Object.assign(report, { saga: payload.saga, outcome: payload.outcome });
    need(equal(payload, bundle.payload), "payload", "it is not what the records say");
  });
}

function consistent(part, checkpoint, known) {
  if (known.size === checkpoint.size) {
    need(known.root === checkpoint.root, "log-fork", "two roots of one size");
  } else {
    if (part.consistency?.size !== known.size) throw new Unverified("no proof between these sizes");
    const path = part.consistency.path.map((node) => fromBase64(node, "log-nodes", 32));
    const [old, young] = [known, checkpoint].sort((left, right) => left.size - right.size);
    const roots = [old, young].map((head) => fromHex(head.root, "log-root", 32));
    verifyConsistency(old.size, young.size, ...roots, path);
  }
  return `checkpoint at ${known.size}`;
}

function checkLog(report, bundle, trust) {
  const [part, known] = [bundle.log, trust?.log];
  if (part === null || !known) {
    for (const name of ["checkpoint", "inclusion"]) report.add(`log.${name}`, "", "not verified", "no log here or there");
    return;
  }
  const by = `log key 0x${known.address}`;
  let checkpoint;
  const good = report.attempt("log.checkpoint", "", () => {
    checkpoint = verifyCheckpoint(part.checkpoint, part.rotations, known.origin, known.address);
    return by;
  });
  if (!good) {
    report.add("log.inclusion", "", "not verified", "the checkpoint is not trusted");
    return;
  }
  report.attempt("log.inclusion", "", () => {
    verifyInclusion(part, bundle.bodies, checkpoint);
    return by;
  });
  if (known.checkpoint) report.attempt("log.consistency", "", () => consistent(part, checkpoint, known.checkpoint));
}

function checkIdentities(named, known) {
  if (Object.keys(known).length > 0) {
    need(equal(known, named), "identities", "the plan names others than the trust file");
    return "trust file";
  }
  if (Object.keys(named).length > 0) throw new Unverified("the trust file names no participants");
  return "";
}

function checkSignatures(report, bundle, course, trust) {
  const named = course.plan.participants ?? {};
  report.attempt("signatures.identities", "", () => checkIdentities(named, trust?.participants ?? {}));
  const payload = encodeBytes(bundle.payload);
  const entries = new Map(bundle.signatures.map((entry) => [entry.role, entry]));
  for (const role of [...new Set([...Object.keys(named), ...entries.keys()])].sort()) {
    report.attempt("signatures.participant", role, () => {
      need(Object.hasOwn(named, role), "signature-role", "the plan names no such participant");
      need(entries.has(role), "signature-missing", "it has not signed");
      verifySignature(entries.get(role), report.saga, report.outcome, payload, named[role]);
    });
  }
}

function checkSecrets(report, bundle) {
  const none = (found) => need(found === undefined, "secrets", found);
  report.attempt("secrets.preimages", "", () => none(preimagesOut(bundle.records, bundle.evidence)));
  report.attempt("secrets.bytes", "", () => none(signedBytesOut(bundle.records)));
}

// ------------------------------------------------------------ the whole

function run(report, raw, trust) {
  let bundle;
  if (!report.attempt("form.bundle", "", () => void (bundle = readBundle(raw)))) return;
  const chained = checkRecords(report, bundle);
  const { checks, course } = checkRules(bundle.records);
  for (const [name, status, reason] of checks) report.add(name, "", status, reason);
  if (!chained || course === null) {
    report.add("payload.equal", "", "not verified", "the records make no saga");
    return;
  }
  checkPayload(report, bundle, course);
  checkEvidence(report, course, bundle, trust);
  checkLog(report, bundle, trust);
  checkSignatures(report, bundle, course, trust);
  checkSecrets(report, bundle);
}

/** Verify a bundle; `trust` is from `readTrust`, or null. Never throws. */
export function verifyBundle(raw, trust) {
  const report = new Report();
  report.unlessGood("form.internal", "", () => run(report, raw, trust));
  return report.json();
}

// ------------------------------------------------------------ commands

/** The report on a bundle under the text of a trust file; "no trust file" where it is none. */
export function judged(bundle, trust) {
  let read = null;
  try {
    read = trust === null ? null : readTrust(trust);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return { verdict: "no trust file", exit: 2, reason: error.message, checks: [] };
  }
  return verifyBundle(bundle, read);
}

function command(names) {
  if (names.length < 1 || names.length > 2) {
    process.stderr.write("usage: node verify.mjs BUNDLE [TRUST]\n");
    return 2;
  }
  const [bundle, trust] = names.map((name) => new Uint8Array(readFileSync(name)));
  const report = judged(bundle, trust ?? null);
  process.stdout.write(`${JSON.stringify(report, null, 1)}\n`);
  return report.exit;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = command(process.argv.slice(2));
}
