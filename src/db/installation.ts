import { boolean, text } from './codec.ts';
import { statement } from './statement.ts';
import type { Queryable } from './transaction.ts';

/** The id that this database got at its first migration (`ins_` and 32 hexadecimal digits); it never changes. */
export async function readInstallationId(db: Queryable): Promise<string> {
  return (await READ_ID.one(db)).installationId;
}

const READ_ID = statement({
  params: {},
  row: { installationId: text },
  text: () => 'select installation_id from installation',
});

/**
 * Notes that no process of an older release runs any more, which writes entries without hashes: from now on (`again`), or
 * (`once`) unless that was noted before. From then on holds are placed, lots opened, bonuses split off wallets frozen and checkouts opened, which such a process does not look at,
 * and events share jobs, which it would not do.
 */
export async function closeRelease(db: Queryable, when: 'again' | 'once'): Promise<void> {
  await CLOSE_RELEASE.run(db, { isAgain: when === 'again' });
}

const CLOSE_RELEASE = statement({
  params: { isAgain: boolean },
  text: ({ isAgain }) => `
    update installation
    set release_closed_at = case when ${isAgain} then now() else coalesce(release_closed_at, now()) end,
      holds_from = least(holds_from, now()), lots_from = least(lots_from, now()), statuses_from = least(statuses_from, now()),
      bonuses_from = least(bonuses_from, now()), checkouts_from = least(checkouts_from, now()),
      event_jobs_from = least(event_jobs_from, now())`,
});

/** Whether no process of a release that knows no holds runs any more. */
export async function mayPlaceHolds(db: Queryable): Promise<boolean> {
  return (await MAY_PLACE.one(db)).may;
}

/** SQL for the same. */
export const HOLDS_ARE_PLACED = '(select holds_from <= now() from installation)';

/** Whether no process of a release that knows no lots runs any more. */
export async function mayOpenLots(db: Queryable): Promise<boolean> {
  return (await MAY_OPEN.one(db)).may;
}

/** SQL for the same. */
const LOTS_ARE_OPENED = '(select lots_from <= now() from installation)';

/** SQL for whether no process runs any more of a release that knows no lots, or lots but no bonuses. */
export const BONUSES_ARE_SPLIT = '(select greatest(lots_from, bonuses_from) <= now() from installation)';

/** SQL for whether no worker of a release that knows no jobs of many events runs any more. */
export const EVENTS_SHARE_JOBS = '(select event_jobs_from <= now() from installation)';

/** Whether no process of a release that knows of no status of wallets runs any more. */
export async function mayChangeStatus(db: Queryable): Promise<boolean> {
  return (await MAY_CHANGE.one(db)).may;
}

/** Whether no process runs any more of a release that knows no checkouts, or no holds. */
export async function mayOpenCheckouts(db: Queryable): Promise<boolean> {
  return (await MAY_CHECK_OUT.one(db)).may;
}

const MAY_CHECK_OUT = statement({
  params: {},
  row: { may: boolean },
  text: () => 'select greatest(holds_from, checkouts_from) <= now() as may from installation',
});

const MAY_CHANGE = statement({
  params: {},
  row: { may: boolean },
  text: () => 'select statuses_from <= now() as may from installation',
});

const MAY_OPEN = statement({
  params: {},
  row: { may: boolean },
  text: () => `select ${LOTS_ARE_OPENED} as may`,
});

const MAY_PLACE = statement({
  params: {},
  row: { may: boolean },
  text: () => `select ${HOLDS_ARE_PLACED} as may`,
});
