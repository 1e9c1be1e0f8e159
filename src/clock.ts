/** Where the time comes from, so that tests can choose it. Nothing else in `src` asks the system for the time of day. */
export interface Clock {
  now(): Date;
}

export const systemClock: Clock = { now: () => new Date() };
