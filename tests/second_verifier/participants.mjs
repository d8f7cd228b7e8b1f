// Signatures of the plan's participants: EIP-712 typed data.
import { need } from "./errors.mjs";
import { concat, fromHex, utf8 } from "./bytes.mjs";
import { keccak256 } from "./keccak.mjs";
import { recoverRsv } from "./secp256k1.mjs";

const hashed = (text) => keccak256(utf8(text));
const DOMAIN = keccak256(concat(
  hashed("EIP712Domain(string name,string version)"), hashed("cross-chain settlement"), hashed("1"),
));
const TYPE = hashed("Settlement(string saga,string outcome,string role,bytes32 payload)");
const CHECKS = { form: "signature-form", highS: "signature-high-s" };

/** Check that the plan's participant signed this payload in its role. */
export function verifySignature(entry, saga, outcome, payload, address) {
  need(entry.address === address, "signature-address", "another address than the plan's");
  const message = keccak256(concat(TYPE, hashed(saga), hashed(outcome), hashed(entry.role), keccak256(payload)));
  const digest = keccak256(concat(Uint8Array.of(0x19, 0x01), DOMAIN, message));
  const signer = recoverRsv(digest, fromHex(entry.signature, "signature-form"), CHECKS);
  need(signer === address, "signature-signer", "another key made it, or it signs something else");
}
