import type pg from 'pg';

/** What Postgres says of a statement without running it. */
export interface StatementDescription {
  /** The types of `$1`, `$2` … by their OIDs. */
  readonly parameterTypes: readonly number[];
  readonly columns: readonly pg.FieldDef[];
}

/** Has the server parse and describe a statement; types of parameters are those that it infers itself. */
export function describeStatement(client: pg.Client, text: string): Promise<StatementDescription> {
  return new Promise((resolve, reject) => {
    let parameterTypes: readonly number[] = [];
    let columns: readonly pg.FieldDef[] = [];
    let failure: Error | null = null;
    client.query({
      submit(connection: pg.Connection): void {
        const note = ({ dataTypeIDs }: { dataTypeIDs: readonly number[] }) => {
          parameterTypes = dataTypeIDs;
        };
        connection.once('parameterDescription', note);
        connection.once('readyForQuery', () => connection.removeListener('parameterDescription', note));
        connection.parse({ name: '', text, types: [] }, true);
        connection.describe({ type: 'S', name: '' }, true);
        connection.sync();
      },
      handleRowDescription(message: { fields: readonly pg.FieldDef[] }): void {
        columns = message.fields;
      },
      handleError(error: Error): void {
        failure = error;
        reject(error);
      },
      handleReadyForQuery(): void {
        if (failure === null) resolve({ parameterTypes, columns });
      },
    });
  });
}
