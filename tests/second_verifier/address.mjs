// The output script that a Bitcoin address stands for: base58check, bech32 and bech32m.
import { need } from "./errors.mjs";
import { fromHex, sameBytes, sha256d, toHex } from "./bytes.mjs";

const CHECK = "step-script";
const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATORS = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
const NETWORKS = {
  mainnet: { hrp: "bc", keyHash: 0x00, scriptHash: 0x05 },
  testnet3: { hrp: "tb", keyHash: 0x6f, scriptHash: 0xc4 },
  signet: { hrp: "tb", keyHash: 0x6f, scriptHash: 0xc4 },
  regtest: { hrp: "bcrt", keyHash: 0x6f, scriptHash: 0xc4 },
};

function fromBase58(text) {
  const digits = [...text].map((letter) => BASE58.indexOf(letter));
  need(digits.every((digit) => digit >= 0) && text.length <= 40, CHECK, "no address");
  const number = digits.reduce((sum, digit) => sum * 58n + BigInt(digit), 0n);
  need(number < 2n ** 200n, CHECK, "an address that is too long");
  const bytes = fromHex(number.toString(16).padStart(50, "0"), CHECK, 25);
  const zeros = bytes.findIndex((byte) => byte !== 0);
  need(zeros === /^1*/.exec(text)[0].length, CHECK, "another number of leading zeros");
  need(sameBytes(sha256d(bytes.subarray(0, 21)).subarray(0, 4), bytes.subarray(21)), CHECK, "a wrong check sum");
  return { version: bytes[0], hash: toHex(bytes.subarray(1, 21)) };
}

function polymod(values) {
  let sum = 1;
  for (const value of values) {
    const top = sum >>> 25;
    sum = ((sum & 0x1ff_ffff) << 5) ^ value;
    GENERATORS.forEach((generator, at) => {
      if ((top >>> at) & 1) sum ^= generator;
    });
  }
  return sum >>> 0;
}

/** Groups of five bits as bytes; what is left over is less than five bits, all zero. */
function toBytes(groups) {
  let [buffer, bits] = [0, 0];
  const bytes = [];
  for (const group of groups) {
    [buffer, bits] = [((buffer << 5) | group) & 0xfff, bits + 5];
    if (bits >= 8) bytes.push((buffer >> (bits -= 8)) & 0xff);
  }
  need(bits < 5 && (buffer & ((1 << bits) - 1)) === 0, CHECK, "dirty padding");
  return Uint8Array.from(bytes);
}

function fromBech32(text, hrp) {
  const data = [...text.slice(hrp.length + 1)].map((letter) => BECH32.indexOf(letter));
  need(data.length >= 8 && text.length <= 90 && data.every((value) => value >= 0), CHECK, "no address");
  const expanded = [...[...hrp].map((one) => one.charCodeAt(0) >> 5), 0, ...[...hrp].map((one) => one.charCodeAt(0) & 31)];
  need(polymod([...expanded, ...data]) === (data[0] === 0 ? 1 : 0x2bc830a3), CHECK, "a wrong check sum");
  const program = toBytes(data.slice(1, -6));
  const known = (data[0] === 0 && [20, 32].includes(program.length)) || (data[0] === 1 && program.length === 32);
  need(known, CHECK, "a witness program that nobody uses");
  const size = program.length.toString(16);
  return `${data[0] === 0 ? "00" : "51"}${size}${toHex(program)}`;
}

export function scriptOf(address, network) {
  const { hrp, keyHash, scriptHash } = NETWORKS[network];
  need(typeof address === "string", CHECK, "no address");
  if (address.startsWith(`${hrp}1`)) return fromBech32(address, hrp);
  const { version, hash } = fromBase58(address);
  if (version === keyHash) return `76a914${hash}88ac`;
  need(version === scriptHash, CHECK, "an address of another network");
  return `a914${hash}87`;
}
