/** Thrown by a measure when a contestant can't do what is measured: that is said in the table and is no failure of the run. */
export class Lacking extends Error {}
