/** A command cannot do what it was asked, and says in words for its user why and what to do. It exits with 1. */
class GivenUpError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'GivenUpError';
  }
}

/** Ends the command with a message; a function so that it can stand in an expression. */
export function giveUp(message: string): never {
  throw new GivenUpError(message);
}
