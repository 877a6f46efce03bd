"""One page for people that needs no other file: reports/index.html."""

from pipeline.base import files, places
from pipeline.base.errors import one_line
from pipeline.reporting import page


def main() -> None:
    files.write_text(places.REPORT_PAGE, page.render(page.gather()))
    print(f"report: {places.REPORT_PAGE}")


if __name__ == "__main__":
    with one_line():
        main()
