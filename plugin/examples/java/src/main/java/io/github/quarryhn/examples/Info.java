package io.github.quarryhn.examples;

import io.github.quarryhn.plugin.Quarry;
import java.nio.file.Path;

/** Loads the module and prints what it says of itself. */
public final class Info {
    /** @param args extism or endive, the module, and a folder for Endive's bytecode */
    public static void main(String[] args) throws Exception {
        try (Quarry quarry = new Quarry(Mine.engine(args[0], Path.of(args[1]), Path.of(args[2])))) {
            System.out.println(quarry.info());
        }
    }
}
