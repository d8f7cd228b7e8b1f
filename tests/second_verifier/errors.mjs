// The only ways in which a check ends other than well.

/** What was read is wrong: the check that says so fails. */
export class Refused extends Error {
  constructor(check, detail) {
    super(`${check}: ${detail}`);
    this.check = check;
  }
}

/** Nothing is known to be wrong, but the verifier's own input does not cover it. */
export class Unverified extends Error {}

/** Refuse unless the condition holds. */
export function need(condition, check, detail) {
  if (!condition) throw new Refused(check, detail);
}
