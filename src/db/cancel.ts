import { text } from './codec.ts';
import { statement } from './statement.ts';
import type { Queryable } from './transaction.ts';

/** Ends the statements that connections of this name are running. */
export async function cancelStatements(db: Queryable, applicationName: string): Promise<void> {
  await CANCEL.run(db, { applicationName });
}

const CANCEL = statement({
  params: { applicationName: text },
  text: ({ applicationName }) =>
    `select pg_cancel_backend(pid) from pg_stat_activity where application_name = ${applicationName}`,
});
