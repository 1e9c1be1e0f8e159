import type { LockedEvent } from './events.ts';

/** The wait begins when the event is first looked at: after a backlog, what it waits for may stand right behind it. */
export function hasWaited(seconds: number, { waitingSince }: Pick<LockedEvent, 'waitingSince'>, now: Date): boolean {
  return waitingSince !== null && now.getTime() - waitingSince.getTime() >= seconds * 1000;
}
