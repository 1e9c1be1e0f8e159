/**
 * Loaded into a process of the service by `--import` (../injection.ts): at SIGUSR2 it does the one thing that
 * FAULT_ON_SIGUSR2 names, as a defect in any line of ours or of a package might.
 */
const FAULTS: Readonly<Record<string, () => void>> = {
  reject: () => {
    Promise.reject(defect());
  },
  throw: () => {
    setImmediate(() => {
      throw defect();
    });
  },
  flood: () => {
    process.stdout.write(`${'flood '.repeat(500_000)}\n`);
  },
  complain: () => {
    console.error('a complaint');
  },
};

/** What the log may not show is in it as well: Postgres quotes rows in `detail`. */
function defect(): Error {
  return Object.assign(new Error('a defect'), { code: '23505', detail: 'Key (email)=(ada@example.com) exists.' });
}

const fault = FAULTS[process.env.FAULT_ON_SIGUSR2 ?? ''];
if (fault === undefined) throw new Error('FAULT_ON_SIGUSR2 names no fault');
process.on('SIGUSR2', fault);
