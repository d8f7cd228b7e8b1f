// Recovery of the public key from an ECDSA signature over secp256k1, with BigInt. Nothing here is
// secret, so it need not run in constant time.
import { need } from "./errors.mjs";
import { toHex, toInt, word, concat } from "./bytes.mjs";
import { keccak256 } from "./keccak.mjs";

const P = 2n ** 256n - 2n ** 32n - 977n;
export const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const G = [
  0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798n,
  0x483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8n,
];
const NOTHING = [0n, 1n, 0n];

function mod(value, modulus = P) {
  const rest = value % modulus;
  return rest < 0n ? rest + modulus : rest;
}

function inverse(value, modulus) {
  let [a, b, x, y] = [mod(value, modulus), modulus, 1n, 0n];
  while (a !== 0n) {
    const quotient = b / a;
    [a, b, x, y] = [b - quotient * a, a, y - quotient * x, x];
  }
  return mod(y, modulus);
}

function power(base, exponent) {
  let result = 1n;
  for (let [factor, left] = [base, exponent]; left > 0n; left >>= 1n) {
    if (left & 1n) result = mod(result * factor);
    factor = mod(factor * factor);
  }
  return result;
}

// Sums are Jacobian: (x, y, z) stands for (x/z², y/z³), z = 0 for nothing. What is added to them is
// affine (z = 1), which saves almost half of the multiplications.
function doubled([x, y, z]) {
  if (z === 0n || y === 0n) return NOTHING;
  const y2 = mod(y * y);
  const s = mod(4n * x * y2);
  const m = mod(3n * x * x);
  const x3 = mod(m * m - 2n * s);
  return [x3, mod(m * (s - x3) - 8n * y2 * y2), mod(2n * y * z)];
}

function added(sum, [x, y]) {
  const [x1, y1, z1] = sum;
  if (z1 === 0n) return [x, y, 1n];
  const z2 = mod(z1 * z1);
  const h = mod(x * z2 - x1);
  const r = mod(y * z1 * z2 - y1);
  if (h === 0n) return r === 0n ? doubled(sum) : NOTHING;
  const h2 = mod(h * h);
  const h3 = mod(h * h2);
  const v = mod(x1 * h2);
  const x3 = mod(r * r - h3 - 2n * v);
  return [x3, mod(r * (v - x3) - y1 * h3), mod(h * z1)];
}

function affine([x, y, z]) {
  const back = inverse(z, P);
  return [mod(x * back * back), mod(y * back * back * back)];
}

/** a·G + b·Q, both multiplications in one run over the bits. */
function combined(a, b, q) {
  const sumOfBoth = added([...G, 1n], q);
  const both = sumOfBoth[2] === 0n ? null : affine(sumOfBoth);
  let sum = NOTHING;
  for (let bit = 255n; bit >= 0n; bit -= 1n) {
    sum = doubled(sum);
    const [first, second] = [(a >> bit) & 1n, (b >> bit) & 1n];
    if (first && second) sum = both === null ? sum : added(sum, both);
    else if (first) sum = added(sum, G);
    else if (second) sum = added(sum, q);
  }
  return sum;
}

// One transaction often shows several outcomes; its signature is worked out once.
const REMEMBERED = 512;
const known = new Map();

/** Address (20 bytes) of the key that made the signature; `odd` says which of two points r names. */
export function recover(digest, r, s, odd, check) {
  const name = `${toHex(digest)} ${r} ${s} ${odd}`;
  if (!known.has(name)) {
    if (known.size >= REMEMBERED) known.clear();
    known.set(name, recovered(digest, r, s, odd, check));
  }
  return known.get(name);
}

function recovered(digest, r, s, odd, check) {
  need(r > 0n && r < ORDER && s > 0n && s < ORDER, check, "r or s is no number below the order");
  const square = mod(r * r * r + 7n);
  let y = power(square, (P + 1n) / 4n);
  need(mod(y * y) === square, check, "r is the abscissa of no point");
  if ((y & 1n) !== BigInt(odd)) y = P - y;
  const back = inverse(r, ORDER);
  const point = combined(mod(-toInt(digest) * back, ORDER), mod(s * back, ORDER), [r, y]);
  need(point[2] !== 0n, check, "the signature leads to no key");
  return keccak256(concat(...affine(point).map(word))).subarray(12);
}

/** Address of the key behind r ‖ s ‖ v with v 27 or 28 and s in its lower half. */
export function recoverRsv(digest, signature, checks) {
  need(signature.length === 65, checks.form, "not 65 bytes");
  need(signature[64] === 27 || signature[64] === 28, checks.form, "v is neither 27 nor 28");
  const [r, s] = [toInt(signature.subarray(0, 32)), toInt(signature.subarray(32, 64))];
  need(s <= ORDER / 2n, checks.highS, "the second form of a signature");
  return toHex(recover(digest, r, s, signature[64] - 27, checks.form));
}
