package bench;

import com.github.houbb.sensitive.word.bs.SensitiveWordBs;
import com.github.houbb.sensitive.word.support.allow.WordAllows;
import com.github.houbb.sensitive.word.support.ignore.SensitiveWordCharIgnores;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Searches texts with houbb/sensitive-word, all its evasion options on, whenever it is told to.
 *
 * <p>Arguments: a file of words, and files of texts, one a line. It says "ready". Each line of input, "file begin end", has
 * it search the file's texts from begin to end (exclusive), one a call; it answers in how many it found something.
 */
public final class Houbb {
  private Houbb() {}

  public static void main(String[] arguments) throws IOException {
    List<String> words = Files.readAllLines(Path.of(arguments[0]));
    List<List<String>> sets = new ArrayList<>();
    for (int index = 1; index < arguments.length; index++) {
      sets.add(Files.readAllLines(Path.of(arguments[index])));
    }
    SensitiveWordBs engine = engine(words);
    System.out.println("ready");
    BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = input.readLine(); line != null; line = input.readLine()) {
      String[] told = line.split(" ");
      List<String> texts = sets.get(Integer.parseInt(told[0]));
      System.out.println(found(engine, texts.subList(Integer.parseInt(told[1]), Integer.parseInt(told[2]))));
    }
  }

  private static SensitiveWordBs engine(List<String> words) {
    return SensitiveWordBs.newInstance()
        .ignoreCase(true)
        .ignoreWidth(true)
        .ignoreNumStyle(true)
        .ignoreChineseStyle(true)
        .ignoreEnglishStyle(true)
        .ignoreRepeat(true)
        .enableWordCheck(true)
        .enableNumCheck(true)
        .enableEmailCheck(true)
        .enableUrlCheck(true)
        .enableIpv4Check(true)
        .charIgnore(SensitiveWordCharIgnores.specialChars())
        .wordAllow(WordAllows.empty())
        .wordDeny(() -> words)
        .init();
  }

  private static int found(SensitiveWordBs engine, List<String> texts) {
    int found = 0;
    for (String text : texts) {
      found += engine.findAll(text).isEmpty() ? 0 : 1;
    }
    return found;
  }
}
