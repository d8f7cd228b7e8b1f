// The checks that were made, in order, and the verdict that follows from them.
import { Refused, Unverified } from "./errors.mjs";

const EXITS = { valid: 0, invalid: 40, undecided: 41 };

export class Report {
  constructor() {
    this.checks = [];
    Object.assign(this, { saga: "", outcome: "" });
  }

  add(name, subject, status, reason = "", by = "") {
    this.checks.push({ name, subject, status, reason, by });
    return status === "passed";
  }

  /** Make a check that returns what carried it; returns whether it passed. */
  attempt(name, subject, check) {
    let by;
    if (!this.unlessGood(name, subject, () => (by = check()))) return false;
    return this.add(name, subject, "passed", "", by ?? "");
  }

  /** Make a check that tells of its success itself. */
  unlessGood(name, subject, check) {
    try {
      check();
      return true;
    } catch (error) {
      return this.add(name, subject, error instanceof Unverified ? "not verified" : "failed", reasonOf(error));
    }
  }

  get verdict() {
    if (this.checks.some((one) => one.status === "failed")) return "invalid";
    return this.checks.some((one) => one.status === "not verified") ? "undecided" : "valid";
  }

  json() {
    const { verdict, saga, outcome, checks } = this;
    return { verdict, exit: EXITS[verdict], saga, outcome, checks };
  }
}

/** What is no refusal of ours came of members of a wrong type in a hostile file: refused as well. */
function reasonOf(error) {
  if (error instanceof Refused || error instanceof Unverified) return error.message;
  return `malformed (${error.constructor.name}: ${error.message})`.slice(0, 200);
}
