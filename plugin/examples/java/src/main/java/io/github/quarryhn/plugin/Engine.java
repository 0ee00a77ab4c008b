package io.github.quarryhn.plugin;

/** A runtime that has compiled the module. It may be used by several threads. */
public interface Engine {
    /** Opens an instance: a memory of its own, with no projection and no pairs. */
    Instance open();

    /** Operations of the module, in the order of their numbers. */
    enum Operation {
        INFO, LOAD_PROJECTION, TRANSFORM, BEGIN, PUSH, FINISH, SELECT, MERGE, RESET
    }

    /** An instance of the module. One thread uses it at a time. */
    interface Instance extends AutoCloseable {
        /**
         * Runs an operation.
         *
         * @param message what the operation takes, as docs/ABI.md has it; empty if it takes nothing
         * @return what the operation gives
         * @throws QuarryException if it fails. After code {@code internal} the instance is of no more use
         */
        byte[] call(Operation operation, byte[] message);

        @Override
        void close();
    }
}
