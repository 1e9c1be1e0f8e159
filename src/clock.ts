/** Where the time comes from, so that tests can choose it. Nothing else in `src` asks the system for the time of day. */
export interface Clock {
  now(): Date;
}

export const systemClock: Clock = { now: () => new Date() };

/** The last moment that Postgres and JavaScript write in the same way, in milliseconds since 1970. */
export const LAST_MOMENT = Date.parse('9999-12-31T23:59:59.999Z');
