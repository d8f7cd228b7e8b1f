// Keccak-256 as Ethereum uses it: the padding of the original submission (0x01), not of SHA-3.
// Lanes of 64 bits are two halves of 32, which is what JavaScript's integers are quick at.

const ROUNDS = 24;
const RATE = 136;
const [ROUND_LOW, ROUND_HIGH] = roundConstants();
const [ROTATIONS, PLACES] = rhoAndPi();

/** Constants of step iota, from the linear feedback shift register of the specification. */
function roundConstants() {
  const low = new Int32Array(ROUNDS);
  const high = new Int32Array(ROUNDS);
  let register = 1;
  for (let round = 0; round < ROUNDS; round += 1) {
    for (let power = 0; power < 7; power += 1) {
      const bit = 2 ** power - 1;
      if (register & 1) (bit < 32 ? low : high)[round] ^= 1 << (bit % 32);
      register = register & 0x80 ? (register << 1) ^ 0x171 : register << 1;
    }
  }
  return [low, high];
}

/** For each lane, how far step rho turns it and where step pi puts it. */
function rhoAndPi() {
  const rotations = new Uint8Array(25);
  const places = new Uint8Array(25);
  let [x, y] = [1, 0];
  for (let t = 0; t < 24; t += 1) {
    rotations[x + 5 * y] = (((t + 1) * (t + 2)) / 2) % 64;
    [x, y] = [y, (2 * x + 3 * y) % 5];
  }
  for (x = 0; x < 5; x += 1) {
    for (y = 0; y < 5; y += 1) places[x + 5 * y] = y + 5 * ((2 * x + 3 * y) % 5);
  }
  return [rotations, places];
}

function theta(low, high, columnLow, columnHigh) {
  for (let x = 0; x < 5; x += 1) {
    columnLow[x] = low[x] ^ low[x + 5] ^ low[x + 10] ^ low[x + 15] ^ low[x + 20];
    columnHigh[x] = high[x] ^ high[x + 5] ^ high[x + 10] ^ high[x + 15] ^ high[x + 20];
  }
  for (let x = 0; x < 5; x += 1) {
    const before = (x + 4) % 5;
    const after = (x + 1) % 5;
    const turnLow = columnLow[before] ^ ((columnLow[after] << 1) | (columnHigh[after] >>> 31));
    const turnHigh = columnHigh[before] ^ ((columnHigh[after] << 1) | (columnLow[after] >>> 31));
    for (let y = 0; y < 25; y += 5) {
      low[x + y] ^= turnLow;
      high[x + y] ^= turnHigh;
    }
  }
}

function rhoPi(low, high, movedLow, movedHigh) {
  for (let lane = 0; lane < 25; lane += 1) {
    const by = ROTATIONS[lane] % 32;
    const swap = ROTATIONS[lane] >= 32;
    const one = swap ? high[lane] : low[lane];
    const other = swap ? low[lane] : high[lane];
    const place = PLACES[lane];
    movedLow[place] = by === 0 ? one : (one << by) | (other >>> (32 - by));
    movedHigh[place] = by === 0 ? other : (other << by) | (one >>> (32 - by));
  }
}

function chi(low, high, movedLow, movedHigh) {
  for (let y = 0; y < 25; y += 5) {
    for (let x = 0; x < 5; x += 1) {
      const here = y + x;
      const next = y + ((x + 1) % 5);
      const after = y + ((x + 2) % 5);
      low[here] = movedLow[here] ^ (~movedLow[next] & movedLow[after]);
      high[here] = movedHigh[here] ^ (~movedHigh[next] & movedHigh[after]);
    }
  }
}

export function keccak256(bytes) {
  const filled = new Uint8Array((Math.floor(bytes.length / RATE) + 1) * RATE);
  filled.set(bytes);
  filled[bytes.length] ^= 0x01;
  filled[filled.length - 1] ^= 0x80;
  const view = new DataView(filled.buffer);
  const [low, high, movedLow, movedHigh] = [0, 0, 0, 0].map(() => new Int32Array(25));
  const [columnLow, columnHigh] = [new Int32Array(5), new Int32Array(5)];
  for (let block = 0; block < filled.length; block += RATE) {
    for (let lane = 0; lane < RATE / 8; lane += 1) {
      low[lane] ^= view.getInt32(block + 8 * lane, true);
      high[lane] ^= view.getInt32(block + 8 * lane + 4, true);
    }
    for (let round = 0; round < ROUNDS; round += 1) {
      theta(low, high, columnLow, columnHigh);
      rhoPi(low, high, movedLow, movedHigh);
      chi(low, high, movedLow, movedHigh);
      low[0] ^= ROUND_LOW[round];
      high[0] ^= ROUND_HIGH[round];
    }
  }
  const digest = new DataView(new ArrayBuffer(32));
  for (let lane = 0; lane < 4; lane += 1) {
    digest.setInt32(8 * lane, low[lane], true);
    digest.setInt32(8 * lane + 4, high[lane], true);
  }
  return new Uint8Array(digest.buffer);
}
